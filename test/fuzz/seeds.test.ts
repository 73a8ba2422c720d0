import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LowrankError } from '../../src/errors.js';
import { TARGETS } from './parsers.js';

/** What a reader refuses even unchanged tests only the checks that come first. */
it.each(TARGETS.map((target) => [target.name, target] as const))('the files of %s are read well, or refused for one reason that is meant', async (name, target) => {
  const folder = await mkdtemp(join(tmpdir(), 'lowrank-fuzz-'));
  try {
    for (const files of await target.seeds()) {
      try {
        await target.read(files, () => Promise.resolve(folder));
      } catch (error) {
        expect(error).toBeInstanceOf(LowrankError);
        expect([name, (error as Error).message]).toEqual([expect.stringMatching(/^(?:model|adapter|checkpoint|queue|override)$/), expect.any(String)]);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
