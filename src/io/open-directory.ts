import { ConfigError } from '../errors.js';
import type { Directory } from './directory.js';
import { notAFolder, resolveDirectory, type ResolveOptions } from './hub.js';
import { isDirectory, isFile, localDirectory } from './node.js';

/**
 * The folder of a model, adapter or data set: a folder on disk, or `org/name` (with `@revision` or `revision`) of the
 * Hub, which is downloaded into the cache that all Hugging Face libraries share.
 * @throws ConfigError when there is no such folder or repository.
 */
export async function openDirectory(
  pathOrId: string,
  options: ResolveOptions & { readonly revision?: string | undefined } = {},
): Promise<Directory> {
  const { revision, ...rest } = options;
  // A path's spelling says that no Hub id is meant, so that a typing error is not answered by the network.
  if (/^(?:[./~\\]|[A-Za-z]:[\\/])/.test(pathOrId) && !pathOrId.startsWith('~/') && !(await isDirectory(pathOrId))) {
    throw (await isFile(pathOrId)) ? notAFolder(pathOrId) : new ConfigError(`${pathOrId}: no such folder`);
  }
  if (revision === undefined || (await isDirectory(pathOrId)))
    return localDirectory(await resolveDirectory(pathOrId, rest));
  if (pathOrId.includes('@'))
    throw new ConfigError(`${pathOrId}: names a revision, and ${revision} is given as revision too`);
  return localDirectory(await resolveDirectory(`${pathOrId}@${revision}`, rest));
}
