import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank, type Outcome } from '../support/cli.js';
import { ggufUpdates, loraUpdates, mlxUpdates } from '../support/exported-updates.js';
import { expectClose } from '../support/numeric.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

/**
 * The table of methods in README: every cell of it is tried with the commands, on a tiny Llama, and must say what came of it. What a cell
 * means stands at the function that finds it.
 */

const BASES = ['float', 'NF4'] as const;
type Base = (typeof BASES)[number];
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
  { name: 'ranks, alphas by module: `rank_pattern`, `alpha_pattern`', sets: ['rank_pattern={q_proj: 2}', 'alpha_pattern={v_proj: 5, up_proj: 9}'] },
  { name: 'some layers: `layers_to_transform`', sets: ['layers_to_transform=[1]'] },
  { name: 'LoRA of the embedding: `target_modules`', sets: ['target_modules=[q_proj, embed_tokens]'] },
  { name: 'LoRA of the output layer: `target_modules`', sets: ['target_modules=[q_proj, lm_head]'] },
  { name: 'modules trained whole: `modules_to_save`', sets: ['target_modules=[q_proj]', 'modules_to_save=[lm_head, embed_tokens, norm]'] },
  { name: 'trained tokens: `trainable_token_indices`', sets: ['trainable_token_indices=[1, 2, 3, 4, 5, 6]'] },
  { name: 'new tokens: `added_tokens`', sets: ['added_tokens=["<is>", "<end>"]'], text: true },
  { name: 'trained prompt: `method: prompt_tuning`', sets: ['method=prompt_tuning'] },
  { name: 'bottlenecks of Houlsby: `method: bottleneck`', sets: ['method=bottleneck', 'bottleneck_size=4'] },
  { name: 'bottlenecks of Pfeiffer: `placement: pfeiffer`', sets: ['method=bottleneck', 'bottleneck_size=4', 'placement=pfeiffer'] },
  { name: 'the last layers: `method: layers`', sets: ['method=layers', 'train_norms=true', 'train_head=true'] },
  { name: 'every weight: `method: full`', sets: ['method=full'] },
];

/** What a command says when it refuses, and the mark of such a cell. */
const REFUSALS: readonly (readonly [reason: string, mark: string])[] = [
  ['merge the adapter instead', 'merged'],
  ['merge them into the model instead', 'merged'],
  ['in none of the layers that mlx-lm adapts', 'merged'],
  ['its vectors stand among the tokens of a text and belong to no weight', 'no weight'],
  ['llama.cpp has no file for trained prompts', 'no weight'],
  ['its networks have a non-linearity between their projections', 'not linear'],
  ['its networks are layers of their own', 'not linear'],
  ['no adapter_config.json: not a PEFT adapter directory', 'a model'],
  ['full contradicts quantization.load_in_4bit: a weight held in 4 bits takes no gradient', 'no gradient'],
];

/** The `peft_type` of what else PEFT itself can load. */
const OF_PEFT = ['LORA', 'PROMPT_TUNING'];
const CONFIG = `
device: wasm
adapter: {}
data: {}
training: { max_steps: 4, per_device_train_batch_size: 16, learning_rate: 0.02, logging_steps: 1, save_strategy: steps, save_steps: 2 }
`;
/** Of a mean loss of about 4: the products are the same but for the order of their sums. */
const TOLERANCE = 1e-5;

let folder: string;
const at = (...names: string[]): string => join(folder, ...names);

/** A letter a token; added tokens are found before. */
const TOKENIZER = {
  version: '1.0',
  added_tokens: [],
  model: { type: 'BPE', vocab: Object.fromEntries([...'_<>abcdefghijklmnopqrstuvwxyz .!'].map((letter, id) => [letter, id])), merges: [] },
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-matrix-'));
  const model = await writeTinyModel(at('model'));
  await writeFile(join(model, 'tokenizer.json'), JSON.stringify(TOKENIZER));
  expect(await lowrank('quantize', model, '-o', at('model-nf4'))).toMatchObject({ status: 0 });
  const texts = Array.from({ length: 16 }, (_, i) => ({ prompt: `${['red', 'blue', 'green'][i % 3]}<is>`, completion: 'a colour<end>' }));
  await writeFile(at('tokens.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(at('texts.jsonl'), toJsonl(texts));
  await writeFile(at('run.yaml'), CONFIG);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function markOf({ stderr }: Outcome): string {
  const [, mark] = REFUSALS.find(([reason]) => stderr.includes(reason)) ?? [];
  return mark ?? `unknown: ${stderr}`;
}

/** A trained adapter, or for `full` a model, and what is known of it. */
class Run {
  readonly out: string;
  private readonly data: string;
  private readonly options: readonly string[];

  constructor({ sets, text }: (typeof METHODS)[number], readonly base: Base, name: string) {
    this.out = at(name);
    this.data = at(text === true ? 'texts.jsonl' : 'tokens.jsonl');
    const all = [`model=${at('model')}`, `data.train=${this.data}`, `training.output_dir=${this.out}`, `quantization.load_in_4bit=${base === 'NF4'}`];
    const wanted = sets.includes('method=prompt_tuning') ? ['training.learning_rate=0.2'] : sets.some((set) => set.startsWith('method=')) ? [] : ['adapter.r=4'];
    this.options = [...all, ...wanted, ...sets.map((set) => `adapter.${set}`)].flatMap((set) => ['--set', set]);
  }

  train(...flags: string[]): Promise<Outcome> {
    return lowrank('train', at('run.yaml'), ...this.options, ...flags);
  }

  /** Of the first step, whose batch is all rows. */
  async startingLoss(): Promise<number> {
    const [first = ''] = (await readFile(join(this.out, 'metrics.jsonl'), 'utf8')).split('\n');
    return (JSON.parse(first) as { loss: number }).loss;
  }

  async lossOf(...model: string[]): Promise<number> {
    const { status, stdout, stderr } = await lowrank('eval', ...model, '--device', 'wasm', '--data', this.data, '--json');
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as { loss: number }).loss;
  }

  /** With what the base was held as in training. */
  adapted(adapter: string): Promise<number> {
    return this.lossOf('--model', at('model'), '--adapter', adapter, ...(this.base === 'NF4' ? ['--quantize', 'nf4'] : []));
  }

  export(format: string, output: string, ...flags: string[]): Promise<Outcome> {
    return lowrank('export', this.out, '--format', format, '-o', output, ...flags);
  }

  /** A run of 4 steps, cut off after 2 of them, ends with the file of one that was not. */
  async resumes(file: string): Promise<string> {
    const whole = await readFile(join(this.out, file));
    await rm(join(this.out, 'checkpoint-4'), { recursive: true });
    await rm(join(this.out, file));
    const { status, stderr } = await this.train('--resume');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('checkpoint-2');
    expect(Buffer.compare(await readFile(join(this.out, file)), whole)).toBe(0);
    return '✓';
  }

  /** The merged model has the loss of base and adapter: of a base in 4 bits its values, decoded, are what is added to. */
  async merges(loss: number): Promise<string> {
    const output = `${this.out}-merged`;
    const named = at(this.base === 'NF4' ? 'model-nf4' : 'model');
    let [outcome, mark] = [await this.export('merged', output, '--model', named), '✓'];
    if (this.base === 'NF4' && outcome.stderr.includes('LoftQ made its base of the float weights')) {
      [outcome, mark] = [await this.export('merged', output, '--model', at('model')), '✓ floats'];
    }
    if (outcome.status !== 0) return markOf(outcome);
    expect(Math.abs((await this.lossOf('--model', output)) - loss)).toBeLessThan(TOLERANCE);
    return mark;
  }

  /** Both files are read again, and mean the same. */
  async peft(loss: number): Promise<string> {
    const output = `${this.out}-peft`;
    const outcome = await this.export('peft', output);
    if (outcome.status !== 0) return markOf(outcome);
    expect(await this.adapted(output)).toBe(loss);
    const { peft_type: type } = JSON.parse(await readFile(join(output, 'adapter_config.json'), 'utf8')) as { peft_type: string };
    return OF_PEFT.includes(type) ? '✓' : 'only here';
  }

  /** Read by an independent reader, every update is the adapter's own s·B·A, and there is no other. */
  async gguf(): Promise<string> {
    const output = `${this.out}.gguf`;
    const outcome = await this.export('gguf', output, '--model', at('model'));
    return outcome.status === 0 ? this.equalUpdates(await ggufUpdates(output)) : markOf(outcome);
  }

  /** The same of `adapters.safetensors` with the settings beside it. */
  async mlx(): Promise<string> {
    const output = `${this.out}-mlx`;
    const outcome = await this.export('mlx', output, '--model', at('model'));
    return outcome.status === 0 ? this.equalUpdates(await mlxUpdates(output)) : markOf(outcome);
  }

  private async equalUpdates(found: ReadonlyMap<string, Float32Array>): Promise<string> {
    const own = await loraUpdates(this.out);
    expect([...found.keys()].sort()).toEqual([...own.keys()].sort());
    for (const [module, update] of own) expectClose(found.get(module) as Float32Array, update, 1e-6, module);
    return '✓';
  }
}

/** The rows of README's table by method and base; a row for two bases is one for each. */
async function readmeTable(): Promise<{ readonly text: string; readonly rows: ReadonlyMap<string, Cells> }> {
  const text = await readFile(resolve('README.md'), 'utf8');
  const lines = text.split('\n');
  const head = lines.findIndex((line) => line === `| method | base | ${COLUMNS.join(' | ')} |`);
  expect(head, 'README has the table').toBeGreaterThan(0);
  const rows = new Map<string, Cells>();
  for (const line of lines.slice(head + 2, lines.indexOf('', head))) {
    const [name, bases = '', ...cells] = line.split('|').slice(1, -1).map((cell) => cell.trim());
    for (const base of bases.split(', ')) {
      expect(rows.has(`${name}, ${base}`), line).toBe(false);
      rows.set(`${name}, ${base}`, Object.fromEntries(COLUMNS.map((column, i) => [column, cells[i]])) as unknown as Cells);
    }
  }
  return { text, rows };
}

describe('README’s table of methods', () => {
  const cases = METHODS.flatMap((method, i) => BASES.map((base) => ({ title: `${method.name}, ${base}`, method, base, folder: `${i}-${base}` })));

  it.each(cases)('says what can be done: $title', async ({ title, method, base, folder: name }) => {
    const run = new Run(method, base, name);
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
    const run = new Run({ name: 'LoRA', sets: [] }, 'NF4', 'float-files');
    expect(await run.train()).toMatchObject({ status: 0 });
    const outcome = await run.export('merged', at('float-merged'));
    expect(outcome.stderr).toBe(`base model: ${at('model')}, from adapter_config.json\n`);
    const merged = await run.lossOf('--model', at('float-merged'));
    expect(Math.abs(merged - (await run.lossOf('--model', at('model'), '--adapter', run.out)))).toBeLessThan(TOLERANCE);
    expect(Math.abs(merged - (await run.adapted(run.out)))).toBeGreaterThan(100 * TOLERANCE);
  });

  it('has these rows, and explains its marks', async () => {
    const { text, rows } = await readmeTable();
    expect([...rows.keys()].sort()).toEqual(cases.map(({ title }) => title).sort());
    const marks = new Set([...rows.values()].flatMap((cells) => Object.values(cells)));
    for (const mark of marks) if (mark !== '–') expect(text, mark).toContain(`\n- ${mark}: `);
  });
});
