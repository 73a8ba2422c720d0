import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';

const QUICKSTART = resolve('configs/quickstart');
const BASE = join(QUICKSTART, 'base');
const TASKS = `
tasks:
  - name: summaries
    type: generate
    data: rows.jsonl
    prompt: "{{ prompt }}"
    references: [completion]
    generation: { max_new_tokens: 8, stop: ["\\n"] }
    metrics: [rougeL, chrf]
  - name: rest
    type: loss
    data: rest.jsonl
    prompt: "{{ prompt }}"
    completion: "{{ completion }}"
    metrics: [loss]
    retain: true
`;
const ABLATION = `
base:
  model: ${BASE}
  device: wasm
  quantization: { load_in_4bit: true }
  data: { train: rows.jsonl, validation: rows.jsonl, max_length: 96 }
  training: { output_dir: unused, max_steps: 2, per_device_train_batch_size: 2, per_device_eval_batch_size: 2, learning_rate: 0.02 }
grid: { r: [1, 2] }
tasks: tasks.yaml
output_dir: out
`;

interface Report {
  readonly metrics: readonly {
    readonly task: string;
    readonly metric: string;
    readonly values: readonly { readonly model: string; readonly value: number }[];
  }[];
  readonly samples: readonly {
    readonly name: string;
    readonly tasks: readonly { readonly task: string; readonly samples: readonly Omit<Answer, 'task'>[] }[];
  }[];
}

interface Answer {
  readonly task: string;
  readonly prompt: string;
  readonly answer: string;
  readonly reference: string;
}

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-ablate-tasks-'));
  const lines = (await readFile(join(QUICKSTART, 'validation.jsonl'), 'utf8')).split('\n');
  await writeFile(join(folder, 'rows.jsonl'), lines.slice(0, 3).join('\n'));
  await writeFile(join(folder, 'rest.jsonl'), lines.slice(3, 5).join('\n'));
  await writeFile(join(folder, 'tasks.yaml'), TASKS);
  await writeFile(join(folder, 'ablation.yaml'), ABLATION);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('ablate with tasks', () => {
  it('has the metrics that eval finds for the same adapters, in columns of their own', async () => {
    const { status, stderr } = await lowrank('ablate', join(folder, 'ablation.yaml'), '--no-estimate');
    expect(status, stderr).toBe(0);
    const out = join(folder, 'out');
    const adapters = [1, 2].map((r) => `r${r}=${join(out, `runs/r-${r}_seed-42`)}`);
    const evaluated = await lowrank(
      'eval',
      '--model',
      BASE,
      '--quantize',
      'nf4',
      '--device',
      'wasm',
      '--adapter',
      ...adapters,
      '--tasks',
      join(folder, 'tasks.yaml'),
      '--batch-size',
      '2',
      '--resamples',
      '0',
      '--json',
    );
    expect(evaluated.status, evaluated.stderr).toBe(0);
    const report = JSON.parse(evaluated.stdout) as Report;
    const valueOf = (name: string, model: string): number =>
      report.metrics
        .find(({ task, metric }) => `${task}/${metric}` === name)
        ?.values.find((value) => value.model === model)?.value ?? NaN;

    const { runs, baselines } = JSON.parse(await readFile(join(out, 'ablation.json'), 'utf8')) as {
      runs: { metrics: Record<string, number>; forgetting: Record<string, number>; answers: Answer[] }[];
      baselines: Record<string, Record<string, number>>;
    };
    const names = ['summaries/rougeL', 'summaries/chrf', 'rest/loss'];
    expect(Object.values(baselines)).toEqual([Object.fromEntries(names.map((name) => [name, valueOf(name, 'base')]))]);
    runs.forEach(({ metrics, forgetting, answers }, i) => {
      expect(metrics).toEqual(Object.fromEntries(names.map((name) => [name, valueOf(name, `r${i + 1}`)])));
      const said = report.samples
        .find(({ name }) => name === `r${i + 1}`)
        ?.tasks.flatMap(({ task, samples }) => samples.map((sample) => ({ task, ...sample })));
      expect(answers).toEqual(said);
      expect(answers.length).toBeGreaterThan(0);
      expect(forgetting).toEqual({ 'rest/loss': valueOf('rest/loss', `r${i + 1}`) - valueOf('rest/loss', 'base') });
    });
    expect(runs[0]?.metrics['summaries/chrf']).not.toBe(runs[1]?.metrics['summaries/chrf']);

    const [header = '', base = '', ...rows] = (await readFile(join(out, 'table.csv'), 'utf8')).trimEnd().split('\n');
    const columns = header.split(',');
    const cellsOf = (row: string): Record<string, string> =>
      Object.fromEntries(row.split(',').map((cell, k) => [columns[k], cell]));
    expect(cellsOf(base)).toMatchObject({
      rank: 'base',
      'forgetting rest/loss': '',
      ...Object.fromEntries(names.map((name) => [name, String(valueOf(name, 'base'))])),
    });
    expect(rows).toHaveLength(2);
    rows.forEach((row, i) => {
      expect(cellsOf(row)).toMatchObject({
        rank: String(i + 1),
        'summaries/rougeL': String(valueOf('summaries/rougeL', `r${i + 1}`)),
        'summaries/chrf': String(valueOf('summaries/chrf', `r${i + 1}`)),
        'rest/loss': String(valueOf('rest/loss', `r${i + 1}`)),
        'forgetting rest/loss': String(valueOf('rest/loss', `r${i + 1}`) - valueOf('rest/loss', 'base')),
      });
    });
    const title = (await readFile(join(out, 'table.md'), 'utf8')).split('\n')[0];
    expect(title).toBe(
      '| rank | seeds | validation loss | summaries/rougeL (%) | summaries/chrf (%) | rest/loss ↓ | trainable | adapter bytes | planned peak (MiB) | forgetting | tokens/s |',
    );

    expect((await lowrank('report', out)).status).toBe(0);
    const page = await readFile(join(out, 'report.md'), 'utf8');
    expect(page).toContain('Answers to the first items of summaries');
    expect(page).toContain('| base | – | – |');
    for (const { answers } of runs) expect(page.replaceAll('\\', '')).toContain(answers[0]?.answer.split('\n')[0]);
  });

  it('goes on, sums up and reports where a metric of the answers is no number', async () => {
    // The base prints no numbers to these prompts, and nothing correlates with nothing.
    await writeFile(
      join(folder, 'numbers.yaml'),
      TASKS.replace('[rougeL, chrf]', '[pearson, rougeL]')
        .replace('metrics: [rougeL', 'retain: true\n    metrics: [rougeL')
        .replace('name: summaries', 'name: summaries\n    retain: true'),
    );
    await writeFile(
      join(folder, 'ablation.yaml'),
      ABLATION.replace('tasks: tasks.yaml', 'tasks: numbers.yaml').replace('output_dir: out', 'output_dir: numbers'),
    );
    const first = await lowrank('ablate', join(folder, 'ablation.yaml'), '--no-estimate');
    expect(first.status, first.stderr).toBe(0);
    const again = await lowrank('ablate', join(folder, 'ablation.yaml'), '--no-estimate');
    expect(again.status, again.stderr).toBe(0);
    expect(again.stderr).not.toContain('begins');
    const out = join(folder, 'numbers');
    const { runs, baselines } = JSON.parse(await readFile(join(out, 'ablation.json'), 'utf8')) as {
      runs: { metrics: Record<string, number | null>; forgetting: object }[];
      baselines: Record<string, object>;
    };
    expect(Object.values(baselines)).toMatchObject([{ 'summaries/pearson': null }]);
    for (const { metrics, forgetting } of runs) {
      expect(metrics).toMatchObject({ 'summaries/pearson': null });
      expect(Object.keys(forgetting)).toEqual(['summaries/rougeL', 'rest/loss']);
    }
    const table = (await readFile(join(out, 'table.md'), 'utf8')).split('\n');
    const column = table[0]?.split(' | ').indexOf('summaries/pearson') ?? -1;
    expect(table.slice(2, 5).map((line) => line.split(' | ')[column])).toEqual(['–', '–', '–']);
    expect((await lowrank('report', out)).status).toBe(0);
  });
});
