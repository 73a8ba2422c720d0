import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { BASES, METHOD_VARIANTS, readmeTable, type Cells } from '../support/method-matrix.js';
import { markOf, MethodRun, TOLERANCE } from '../support/method-run.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

/**
 * The table of methods in README: every cell of it is tried with the commands, on a tiny Llama, and must say what came
 * of it. What a cell means stands at the method of `MethodRun` that finds it.
 */

const METHODS = Object.values(METHOD_VARIANTS).flat();

const CONFIG = `
device: wasm
adapter: {}
data: {}
training: { max_steps: 4, per_device_train_batch_size: 16, learning_rate: 0.02, logging_steps: 1, save_strategy: steps, save_steps: 2 }
`;

let folder: string;
const at = (name: string): string => join(folder, name);

/** A letter a token; added tokens are found before. */
const TOKENIZER = {
  version: '1.0',
  added_tokens: [],
  model: {
    type: 'BPE',
    vocab: Object.fromEntries([...'_<>abcdefghijklmnopqrstuvwxyz .!'].map((letter, id) => [letter, id])),
    merges: [],
  },
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-matrix-'));
  const model = await writeTinyModel(at('model'));
  await writeFile(join(model, 'tokenizer.json'), JSON.stringify(TOKENIZER));
  expect(await lowrank('quantize', model, '-o', at('model-nf4'))).toMatchObject({ status: 0 });
  const texts = Array.from({ length: 16 }, (_, i) => ({
    prompt: `${['red', 'blue', 'green'][i % 3]}<is>`,
    completion: 'a colour<end>',
  }));
  await writeFile(at('tokens.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(at('texts.jsonl'), toJsonl(texts));
  await writeFile(at('run.yaml'), CONFIG);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('README’s table of methods', () => {
  const cases = METHODS.flatMap((method, i) =>
    BASES.map((base) => ({ title: `${method.name}, ${base}`, method, base, name: `${i}-${base}` })),
  );

  it.each(cases)('says what can be done: $title', async ({ title, method, base, name }) => {
    const run = new MethodRun({
      folder,
      name,
      data: method.text === true ? 'texts.jsonl' : 'tokens.jsonl',
      sets: method.sets,
      base,
    });
    const isModel = method.sets.includes('method=full');
    const trained = await run.train();
    let cells: Cells = { train: markOf(trained), resume: '–', merge: '–', peft: '–', gguf: '–', mlx: '–' };
    if (trained.status === 0) {
      const loss = isModel ? await run.lossOf('--model', run.out) : await run.adapted(run.out);
      expect(loss).toBeLessThan((await run.startingLoss()) - 0.01);
      cells = {
        train: '✓',
        resume: await run.resumes(isModel ? 'model.safetensors' : 'adapter_model.safetensors'),
        merge: await run.merges(loss),
        peft: await run.peft(loss),
        gguf: await run.gguf(),
        mlx: await run.mlx(),
      };
    }
    expect((await readmeTable()).rows.get(title)).toEqual(cells);
  });

  it('tells of a base in NF4: into its float files an adapter merges to what it is over the float base', async () => {
    const run = new MethodRun({ folder, name: 'float-files', data: 'tokens.jsonl', sets: [], base: 'NF4' });
    expect(await run.train()).toMatchObject({ status: 0 });
    const outcome = await run.export('merged', at('float-merged'));
    expect(outcome.stderr).toMatch(
      /^base model: .+\/model, from .+\/float-files\nread back: logits of 12 tokens are those of base and adapter, to \de-\d of their deviation\n$/,
    );
    const merged = await run.lossOf('--model', at('float-merged'));
    expect(
      Math.abs(merged - (await run.lossOf('--model', at('model'), '--adapter', run.out, '--quantize', 'none'))),
    ).toBeLessThan(TOLERANCE);
    expect(Math.abs(merged - (await run.adapted(run.out)))).toBeGreaterThan(100 * TOLERANCE);
  });
});
