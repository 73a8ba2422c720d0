import type { Directory } from '../io/directory.js';
import { hashSource } from '../io/hash.js';
import { TOKENIZER_FILES } from '../tokenizer/tokenizer.js';

/** SHA-256 of the named files of a folder that are there, by name. */
export async function hashFiles(directory: Directory, names: readonly string[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of names) {
    const source = await directory.open(name);
    if (source === undefined) continue;
    try {
      found[name] = await hashSource(source);
    } finally {
      await source.close();
    }
  }
  return found;
}

/** Of a model directory's weights: config.json is left out, as tools rewrite it without changing what it says. */
export async function hashWeights(directory: Directory): Promise<Record<string, string>> {
  const names = await directory.list();
  return hashFiles(directory, names.filter((name) => /^model(?:-\d+-of-\d+)?\.safetensors$/.test(name)).sort());
}

export function hashTokenizer(directory: Directory): Promise<Record<string, string>> {
  return hashFiles(directory, TOKENIZER_FILES);
}
