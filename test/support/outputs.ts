import type { OutputFile } from '../../src/export/output.js';
import { memoryDirectory, type Directory } from '../../src/io/directory.js';

/** What an export would write, by path. */
export async function collect(files: readonly OutputFile[]): Promise<Record<string, Uint8Array | string>> {
  const out: Record<string, Uint8Array | string> = {};
  for (const { path, content } of files) {
    if (typeof content === 'string' || content instanceof Uint8Array) {
      out[path] = content;
    } else {
      const parts: Uint8Array[] = [];
      for await (const part of content) parts.push(part);
      out[path] = new Uint8Array(Buffer.concat(parts));
    }
  }
  return out;
}

export async function asDirectory(files: readonly OutputFile[]): Promise<Directory> {
  return memoryDirectory('exported', await collect(files));
}
