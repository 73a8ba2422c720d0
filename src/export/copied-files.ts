import type { Directory } from '../io/directory.js';
import { TOKENIZER_FILES } from '../tokenizer/tokenizer.js';
import type { OutputFile } from './output.js';

/**
 * What belongs to a model besides weights and config.json: tokenizer, generation settings, licence. Those that the
 * directory has.
 */
export async function copiedFiles(directory: Directory, more: readonly string[] = []): Promise<OutputFile[]> {
  const wanted = new Set([...more, 'generation_config.json', 'LICENSE', 'LICENSE.txt', ...TOKENIZER_FILES]);
  const files: OutputFile[] = [];
  for (const path of await directory.list()) {
    if (!wanted.has(path)) continue;
    const source = await directory.open(path);
    if (source === undefined) continue;
    try {
      // A copy: the source may share its memory.
      files.push({ path, content: (await source.read(0, source.size)).slice() });
    } finally {
      await source.close();
    }
  }
  return files;
}
