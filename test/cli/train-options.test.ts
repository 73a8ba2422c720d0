import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { checkTrainRow, stoppedWhen } from '../support/train-row.js';
import {
  argumentsOf,
  CONTRADICTIONS,
  FACTORS,
  MAIN_FACTORS,
  trainRows,
  writeInputs,
  type Level,
} from '../support/train-options.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-options-'));
  await writeInputs(folder);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The levels of a row that are not the first of their factor. */
function titleOf(levels: readonly Level[]): string {
  return levels
    .filter(([factor, level]) => Object.keys(FACTORS[factor] ?? {})[0] !== level)
    .map((level) => level.join(' '))
    .join(', ');
}

/** All levels, with every triple of them, take hours: LOWRANK_SWEEP=3 makes those. */
const sweep = Number(process.env['LOWRANK_SWEEP'] ?? 0);
const rows = trainRows(sweep || 2, sweep > 0 ? {} : { factors: MAIN_FACTORS }).map((levels, i) => ({
  title: titleOf(levels),
  levels,
  i,
}));

describe('lowrank train', () => {
  it.each(rows)('ends, goes on to the same bytes, and can be used: $title', async ({ levels, i }) => {
    await checkTrainRow(folder, `row-${i}`, levels, i % 4);
  });

  it('loses nothing when it is stopped after its last step', async () => {
    const levels: Level[] = [
      ['save', 'no'],
      ['test', 'file'],
      ['early_stopping', 'one'],
    ];
    const argsOf = (name: string): string[] => argumentsOf(folder, name, levels);
    const resultOf = (name: string): Promise<Buffer> => readFile(join(folder, name, 'adapter_model.safetensors'));
    expect(await lowrank('train', ...argsOf('whole'))).toMatchObject({ status: 0 });
    const { status, stderr } = await stoppedWhen((text) => text.startsWith('test loss '), argsOf('stopped'));
    expect(status, stderr).toBe(143);
    expect(stderr).toMatch(/stopped at step (\d+) of \d+; .*checkpoint-\1 is whole; go on with: lowrank train/);
    const rest = await lowrank('train', ...argsOf('stopped'), '--resume');
    expect(rest.status, rest.stderr).toBe(0);
    expect(Buffer.compare(await resultOf('stopped'), await resultOf('whole'))).toBe(0);
  });

  it('refuses what does not go together, and names both, before anything is written', async () => {
    for (const { levels, named, status } of CONTRADICTIONS) {
      const outcome = await lowrank('train', ...argumentsOf(folder, 'never', levels));
      expect(outcome.status, `${titleOf(levels)}: ${outcome.stderr}`).toBe(status);
      for (const name of named) expect(outcome.stderr, titleOf(levels)).toContain(name);
      // Nothing of the model was loaded: the memory of a run is told before.
      if (status === 2) expect(outcome.stderr, titleOf(levels)).not.toContain('memory: ');
    }
    expect(await readdir(folder)).not.toContain('never');
  });
});
