import { expect, it } from 'vitest';
import { fuzz } from './fuzz.js';
import { TARGETS } from './parsers.js';

/** A minute of them in each run of the suite; `npm run fuzz -- --minutes 60` for more. */
it('every reader ends in a result or an own error within 5 s and 512 MiB, whatever the file', async () => {
  const seed = Number(process.env['LOWRANK_FUZZ_SEED'] ?? 1);
  const { cases, findings } = await fuzz({ minutes: 1, seed, note: (text) => process.stderr.write(text) });
  expect(findings.map(({ index, problem }) => `case ${index}: ${problem}`)).toEqual([]);
  // The readers take turns.
  expect(cases).toBeGreaterThanOrEqual(TARGETS.length);
}, 600_000);
