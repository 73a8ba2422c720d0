/** What Node adds to the package: its host for devices, folders and files on disk, models of the Hub. */
export { nodeHost } from './device/node.js';
export { resolveDirectory, type ResolveOptions } from './io/hub.js';
export { fileSource, isDirectory, isFile, localDirectory, stageDirectory, writeFileAtomic, type StagedDirectory } from './io/node.js';
export { openDirectory } from './io/open-directory.js';
