import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'vitest';
import { TARGETS } from './parsers.js';

/** What a reader refuses even unchanged tests only the checks that come first. */
it.each(TARGETS.map((target) => [target.name, target] as const))(
  'the files of %s are read well',
  async (_name, target) => {
    const folder = await mkdtemp(join(tmpdir(), 'lowrank-fuzz-'));
    try {
      for (const files of await target.seeds()) await target.read(files, () => Promise.resolve(folder));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
