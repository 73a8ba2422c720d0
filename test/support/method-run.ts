import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { lowrank, type Outcome } from './cli.js';
import { ggufUpdates, loraUpdates, mlxUpdates } from './exported-updates.js';
import { expectClose } from './numeric.js';

/** What a command says when it refuses, and the mark of such a cell. */
const REFUSALS: readonly (readonly [reason: string, mark: string])[] = [
  ['merge the adapter instead', 'merged'],
  ['merge them into the model instead', 'merged'],
  ['in none of the layers that mlx-lm adapts', 'merged'],
  ['its vectors stand among the tokens of a text and belong to no weight', 'no weight'],
  ['llama.cpp has no file for trained prompts', 'no weight'],
  ['its networks have a non-linearity between their projections', 'not linear'],
  ['its networks are layers of their own', 'not linear'],
  ['so that only this package reads its files', 'only here'],
  ['is a model, not an adapter', 'a model'],
  ['full contradicts quantization.load_in_4bit: a weight held in 4 bits takes no gradient', 'no gradient'],
];

/** Of a mean loss of about 4: the products are the same but for the order of their sums. */
export const TOLERANCE = 1e-5;

/** The mark of a cell whose command has failed. */
export function markOf({ stderr }: Outcome): string {
  const [, mark] = REFUSALS.find(([reason]) => stderr.includes(reason)) ?? [];
  return mark ?? `unknown: ${stderr}`;
}

export interface MethodRunRequest {
  /**
   * Holds `model` and its 4-bit form `model-nf4`, `run.yaml` with steps and rates, and the rows. The run is written to
   * `name` in it.
   */
  readonly folder: string;
  readonly name: string;
  /** The file with the rows. */
  readonly data: string;
  /** Options of the `adapter` section. */
  readonly sets: readonly string[];
  readonly base: 'float' | 'NF4';
}

/**
 * A trained adapter, or for `full` a model, with the commands that are tried on it. Each gives the mark of its cell.
 */
export class MethodRun {
  readonly out: string;
  private readonly data: string;
  private readonly model: string;
  private readonly base: MethodRunRequest['base'];
  private readonly config: string;
  private readonly options: readonly string[];

  constructor({ folder, name, data, sets, base }: MethodRunRequest) {
    this.out = join(folder, name);
    this.data = join(folder, data);
    this.model = join(folder, 'model');
    this.base = base;
    this.config = join(folder, 'run.yaml');
    const all = [
      `model=${this.model}`,
      `data.train=${this.data}`,
      `training.output_dir=${this.out}`,
      `quantization.load_in_4bit=${base === 'NF4'}`,
    ];
    const wanted = sets.includes('method=prompt_tuning')
      ? ['training.learning_rate=0.2']
      : sets.some((set) => set.startsWith('method='))
        ? []
        : ['adapter.r=4'];
    this.options = [...all, ...wanted, ...sets.map((set) => `adapter.${set}`)].flatMap((set) => ['--set', set]);
  }

  train(...flags: string[]): Promise<Outcome> {
    return lowrank('train', this.config, ...this.options, ...flags);
  }

  /** Of the first step, whose batch is all rows. */
  async startingLoss(): Promise<number> {
    const [first = ''] = (await readFile(join(this.out, 'metrics.jsonl'), 'utf8')).split('\n');
    return (JSON.parse(first) as { loss: number }).loss;
  }

  async lossOf(...model: string[]): Promise<number> {
    const { status, stdout, stderr } = await lowrank(
      'eval',
      ...model,
      '--device',
      'wasm',
      '--data',
      this.data,
      '--json',
    );
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as { loss: number }).loss;
  }

  /** With what the base was held as in training. */
  adapted(adapter: string): Promise<number> {
    return this.lossOf(
      '--model',
      this.model,
      '--adapter',
      adapter,
      ...(this.base === 'NF4' ? ['--quantize', 'nf4'] : []),
    );
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

  /**
   * The merged model has the loss of base and adapter: of a base in 4 bits its values, decoded, are what is added to.
   */
  async merges(loss: number): Promise<string> {
    const output = `${this.out}-merged`;
    const named = this.base === 'NF4' ? `${this.model}-nf4` : this.model;
    let [outcome, mark] = [await this.export('merged', output, '--model', named), '✓'];
    if (this.base === 'NF4' && outcome.stderr.includes('LoftQ made its base of the float weights')) {
      [outcome, mark] = [await this.export('merged', output, '--model', this.model), '✓ floats'];
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
    return '✓';
  }

  /** Read by an independent reader, every update is the adapter's own s·B·A, and there is no other. */
  async gguf(): Promise<string> {
    const output = `${this.out}.gguf`;
    const outcome = await this.export('gguf', output, '--model', this.model);
    return outcome.status === 0 ? this.equalUpdates(await ggufUpdates(output)) : markOf(outcome);
  }

  /** The same of `adapters.safetensors` with the settings beside it. */
  async mlx(): Promise<string> {
    const output = `${this.out}-mlx`;
    const outcome = await this.export('mlx', output, '--model', this.model);
    return outcome.status === 0 ? this.equalUpdates(await mlxUpdates(output)) : markOf(outcome);
  }

  private async equalUpdates(found: ReadonlyMap<string, Float32Array>): Promise<string> {
    const own = await loraUpdates(this.out);
    expect([...found.keys()].sort()).toEqual([...own.keys()].sort());
    for (const [module, update] of own) expectClose(found.get(module) as Float32Array, update, 1e-6, module);
    return '✓';
  }
}
