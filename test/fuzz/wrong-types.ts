import type { Files } from './mutate.js';

const WRONG: readonly unknown[] = [null, 7, 'a text', ['a', 1], { a: 1 }, -1, true, [], {}, [null]];
/** Of the entries of a vocabulary and the like. */
const MOST_ENTRIES = 8;

/** Ways to all values within a value. */
function* paths(value: unknown, at: readonly string[] = []): Generator<readonly string[]> {
  yield at;
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value).slice(0, Object.keys(value).length > 40 ? MOST_ENTRIES : undefined))
    yield* paths(inner, [...at, key]);
}

function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<string, unknown>;
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

/** Each JSON file of the seeds with each of its fields replaced. */
export function* changes(seeds: readonly Files[]): Generator<{ readonly files: Files; readonly what: string }> {
  for (const files of seeds) {
    for (const [name, content] of Object.entries(files)) {
      if (typeof content !== 'string' || !content.startsWith('{')) continue;
      let json: unknown;
      try {
        json = JSON.parse(content);
      } catch {
        continue;
      }
      for (const path of paths(json)) {
        for (const wrong of WRONG)
          yield {
            files: { ...files, [name]: JSON.stringify(replaced(json, path, wrong)) },
            what: `${name}: ${path.join('.')} = ${JSON.stringify(wrong)}`,
          };
      }
    }
  }
}
