import type { DataSource } from '../data/row.js';
import type { Directory } from '../io/directory.js';
import { hashSource } from '../io/hash.js';
import { memorySource } from '../io/source.js';
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

/** SHA-256 of a file of rows, or of rows in memory as JSON. */
export function hashRows(source: DataSource): Promise<string> {
  return hashSource(
    'rows' in source ? memorySource(source.name, new TextEncoder().encode(JSON.stringify(source.rows))) : source,
  );
}

/** SHA-256 of files of rows by name, without the folders that they lie in here. */
export async function hashRowFiles(sources: readonly DataSource[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const source of sources) {
    const name = source.name.split(/[\\/]/).at(-1) ?? source.name;
    found[Object.hasOwn(found, name) ? `${name} (${Object.keys(found).length + 1})` : name] = await hashRows(source);
  }
  return found;
}
