import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { markOf, MethodRun, TOLERANCE } from '../support/method-run.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

/**
 * The table of methods in README: every cell of it is tried with the commands, on a tiny Llama, and must say what came
 * of it. What a cell means stands at the method of `MethodRun` that finds it.
 */

const BASES = ['float', 'NF4'] as const;
const COLUMNS = ['train', 'resume', 'merge', 'peft', 'gguf', 'mlx'] as const;
type Cells = Readonly<Record<(typeof COLUMNS)[number], string>>;

/** The first cell of each row, and the options that ask for it. Text is for what needs a tokenizer. */
const METHODS: readonly { readonly name: string; readonly sets: readonly string[]; readonly text?: true }[] = [
  { name: 'LoRA', sets: [] },
  { name: 'rsLoRA: `use_rslora`', sets: ['use_rslora=true'] },
  { name: 'LoRA+: `loraplus_lr_ratio`', sets: ['loraplus_lr_ratio=4'] },
  { name: 'DoRA: `use_dora`', sets: ['use_dora=true'] },
  { name: 'PiSSA: `init_lora_weights: pissa`', sets: ['init_lora_weights=pissa'] },
  { name: 'LoftQ: `init_lora_weights: loftq`', sets: ['init_lora_weights=loftq', 'loftq_config.loftq_iter=2'] },
  {
    name: 'ranks, alphas by module: `rank_pattern`, `alpha_pattern`',
    sets: ['rank_pattern={q_proj: 2}', 'alpha_pattern={v_proj: 5, up_proj: 9}'],
  },
  { name: 'some layers: `layers_to_transform`', sets: ['layers_to_transform=[1]'] },
  { name: 'LoRA of the embedding: `target_modules`', sets: ['target_modules=[q_proj, embed_tokens]'] },
  { name: 'LoRA of the output layer: `target_modules`', sets: ['target_modules=[q_proj, lm_head]'] },
  {
    name: 'modules trained whole: `modules_to_save`',
    sets: ['target_modules=[q_proj]', 'modules_to_save=[lm_head, embed_tokens, norm]'],
  },
  { name: 'trained tokens: `trainable_token_indices`', sets: ['trainable_token_indices=[1, 2, 3, 4, 5, 6]'] },
  { name: 'new tokens: `added_tokens`', sets: ['added_tokens=["<is>", "<end>"]'], text: true },
  { name: 'trained prompt: `method: prompt_tuning`', sets: ['method=prompt_tuning'] },
  { name: 'bottlenecks of Houlsby: `method: bottleneck`', sets: ['method=bottleneck', 'bottleneck_size=4'] },
  {
    name: 'bottlenecks of Pfeiffer: `placement: pfeiffer`',
    sets: ['method=bottleneck', 'bottleneck_size=4', 'placement=pfeiffer'],
  },
  { name: 'the last layers: `method: layers`', sets: ['method=layers', 'train_norms=true', 'train_head=true'] },
  { name: 'every weight: `method: full`', sets: ['method=full'] },
];

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

/** The rows of README's table by method and base; a row for two bases is one for each. */
async function readmeTable(): Promise<{ readonly text: string; readonly rows: ReadonlyMap<string, Cells> }> {
  const text = await readFile(resolve('README.md'), 'utf8');
  // Prettier aligns the columns.
  const lines = text.split('\n').map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim())
      .join(' | ')
      .trim(),
  );
  const head = lines.findIndex((line) => line === `| method | base | ${COLUMNS.join(' | ')} |`);
  expect(head, 'README has the table').toBeGreaterThan(0);
  const rows = new Map<string, Cells>();
  for (const line of lines.slice(head + 2, lines.indexOf('', head))) {
    const [name, bases = '', ...cells] = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    for (const base of bases.split(', ')) {
      expect(rows.has(`${name}, ${base}`), line).toBe(false);
      rows.set(
        `${name}, ${base}`,
        Object.fromEntries(COLUMNS.map((column, i) => [column, cells[i]])) as unknown as Cells,
      );
    }
  }
  return { text, rows };
}

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

  it('has these rows, and explains its marks', async () => {
    const { text, rows } = await readmeTable();
    expect([...rows.keys()].sort()).toEqual(cases.map(({ title }) => title).sort());
    const marks = new Set([...rows.values()].flatMap((cells) => Object.values(cells)));
    for (const mark of marks) if (mark !== '–') expect(text, mark).toContain(`\n- ${mark}: `);
  });
});
