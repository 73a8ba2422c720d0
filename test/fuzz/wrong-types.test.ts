import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LowrankError } from '../../src/errors.js';
import type { Files } from './mutate.js';
import { TARGETS } from './parsers.js';

const WRONG: readonly unknown[] = [null, 7, 'a text', ['a', 1], { a: 1 }, -1, true, [], {}, [null]];
/** Of the entries of a vocabulary and the like. */
const MOST_ENTRIES = 8;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-types-'));
});
afterAll(() => rm(folder, { recursive: true }));

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
function* changes(seeds: readonly Files[]): Generator<{ readonly files: Files; readonly what: string }> {
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

/**
 * tokenizer.json, tokenizer_config.json, generation_config.json, config.json, model.safetensors.index.json,
 * adapter_config.json and what runs, queues and the hub write.
 */
it.each(TARGETS.map((target) => [target.name, target] as const))(
  '%s: a field of another type ends in a result or an own error',
  async (_name, target) => {
    const unexpected: string[] = [];
    const all = [...changes(await target.seeds())];
    // What others than lowrank write is tried in full.
    const step = /^(?:tokenizer|model|adapter)$/.test(target.name) ? 1 : Math.ceil(all.length / 400);
    for (const { files, what } of all.filter((_, i) => i % step === 0)) {
      try {
        await target.read(files, () => Promise.resolve(folder));
      } catch (error) {
        if (!(error instanceof LowrankError)) unexpected.push(`${what}: ${String(error)}`);
        // An own error that only passes on what the engine says helps nobody.
        else if (
          /Cannot read propert|is not a function|is not iterable/.test(error.message) &&
          !/setting is of a wrong type|download broke/.test(error.message)
        )
          unexpected.push(`${what}: ${error.message}`);
      }
    }
    expect(unexpected.slice(0, 10)).toEqual([]);
  },
  300_000,
);
