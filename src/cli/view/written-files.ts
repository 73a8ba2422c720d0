import { formatBytes } from '../../format.js';
import type { WrittenFile } from '../../workspace/export/export-output.js';
import { formatTable } from './table.js';
import { print } from './terminal.js';

/** Prints the files of an export with their sizes: one line for a single file, else a table under the folder's name. */
export function printWritten(output: string, files: readonly WrittenFile[]): void {
  const [only] = files;
  if (files.length === 1 && only !== undefined && output.endsWith(only.path))
    return print(`${output}: ${formatBytes(only.bytes)}\n`);
  const rows = files.map(({ path, bytes }) => [path, formatBytes(bytes)]);
  print(`${output}\n${formatTable(['file', { title: 'size', align: 'right' }], rows)}`);
}
