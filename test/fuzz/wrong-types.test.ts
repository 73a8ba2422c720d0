import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LowrankError } from '../../src/errors.js';
import { TARGETS } from './parsers.js';
import { changes } from './wrong-types.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-types-'));
});
afterAll(() => rm(folder, { recursive: true }));

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
