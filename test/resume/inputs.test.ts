import { describe, expect, it } from 'vitest';
import { runConfigSchema } from '../../src/config/schema.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { hashRunFiles, inputDifferences, inputsOf } from '../../src/resume/inputs.js';

const config = runConfigSchema.parse({
  model: 'm',
  data: { train: 'a.jsonl', test: 't.jsonl' },
  training: { output_dir: 'o' },
});
const rows = (text: string) => [{ name: 'rows', rows: [{ text }] }];
const inputsWith = async (test: string) =>
  inputsOf(
    await hashRunFiles({
      model: memoryDirectory('m', { 'config.json': '{}' }),
      data: { train: rows('a'), test: rows(test) },
    }),
    config,
    'wasm',
  );

describe('what a run is made of', () => {
  it('has the test rows, which matter to a finished run and not to one that goes on', async () => {
    const [before, now] = [await inputsWith('b'), await inputsWith('c')];
    expect(inputDifferences(before, await inputsWith('b'), config, 'finished')).toEqual([]);
    expect(inputDifferences(before, now, config, 'finished')).toEqual(['data.test: file 1 holds something else']);
    expect(inputDifferences(before, now, config)).toEqual([]);
  });

  it('goes on from what earlier versions wrote, whose configs have fewer options', async () => {
    const before = await inputsWith('b');
    const { objective: _, momentum: _momentum, ...training } = config.training;
    const earlier = { ...before, config: { ...before.config, training } };
    expect(inputDifferences(earlier, before, config)).toEqual([]);
    const other = { ...config, training: { ...config.training, objective: 'sequence_mean' as const } };
    expect(inputDifferences(earlier, before, other)).toEqual([
      'training.objective was "token_mean" and is "sequence_mean"',
    ]);
  });
});
