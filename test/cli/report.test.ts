import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

/** A model with a tokenizer. */
const TOKENIZED = 'configs/quickstart/base';

let folder = '';
let out = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-report-'));
  out = join(folder, 'out');
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(24, 1)));
  const run = {
    model: './model',
    device: 'wasm',
    data: { train: './train.jsonl', validation_split: 0.25 },
    training: { output_dir: './out', max_steps: 6, eval_steps: 2, logging_steps: 1 },
  };
  await writeFile(join(folder, 'run.json'), JSON.stringify(run));
  const { status, stderr } = await lowrank('train', join(folder, 'run.json'));
  expect(status, stderr).toBe(0);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the report of a folder holds, and what every report does. */
async function reportOf(
  path: string,
): Promise<{ html: string; csv: string; json: Record<string, unknown>; plots: string[] }> {
  const { status, stderr } = await lowrank('report', path);
  expect(status, stderr).toBe(0);
  const [html, csv, markdown, json] = (await Promise.all(
    ['html', 'csv', 'md', 'json'].map((ending) => readFile(join(path, `report.${ending}`), 'utf8')),
  )) as [string, string, string, string];
  const plots = await readdir(join(path, 'plots'));
  for (const plot of plots) {
    expect(markdown).toContain(`](plots/${plot})`);
  }
  // What is sent on alone has no link that leads out of it.
  expect(html).not.toMatch(/(?:src|href)="(?!#)/);
  expect(html).not.toMatch(/<script|@import|url\(/);
  for (const wrong of ['NaN', 'undefined', 'Infinity', '[object']) expect(html).not.toContain(wrong);
  return { html, csv, json: JSON.parse(json) as Record<string, unknown>, plots };
}

const TASKS = {
  tasks: [
    {
      name: 'count',
      type: 'generate',
      data: 'validation.jsonl',
      prompt: '{{ prompt }}',
      references: 'completion',
      generation: { max_new_tokens: 3 },
      metrics: ['rougeL', 'chrf'],
    },
    {
      name: 'known',
      type: 'loss',
      data: 'validation.jsonl',
      prompt: '{{ prompt }}',
      completion: '{{ completion }}',
      metrics: ['loss'],
      retain: true,
    },
  ],
};

describe('lowrank report', () => {
  it.each(['a: [1', 'a: &x [*x]', 'a: *none', `${'['.repeat(2000)}`])(
    'refuses a config.yaml that is broken, by its name: %s',
    async (text) => {
      const broken = await mkdtemp(join(folder, 'broken-'));
      await writeFile(join(broken, 'metrics.jsonl'), '{"step": 1, "loss": 2}\n');
      await writeFile(join(broken, 'config.yaml'), text);
      const { status, stderr } = await lowrank('report', broken);
      expect({ status, stderr }).toEqual({
        status: 3,
        stderr: expect.stringMatching(/^lowrank: .*broken-\w+\/config\.yaml: /) as string,
      });
    },
  );

  it('shows an ablation with its scores, what was forgotten, spaces, and answers', async () => {
    const rows = Array.from(
      { length: 4 },
      (_, i) => `${JSON.stringify({ prompt: String(i), completion: ` ${i + 1}` })}\n`,
    ).join('');
    await writeFile(join(folder, 'validation.jsonl'), rows);
    await writeFile(join(folder, 'tasks.json'), JSON.stringify(TASKS));
    await cp(TOKENIZED, join(folder, 'base'), { recursive: true });
    const base = {
      model: './base',
      device: 'wasm',
      data: { train: './validation.jsonl', validation: './validation.jsonl' },
      training: { output_dir: './x', max_steps: 3, eval_steps: 1, logging_steps: 1, per_device_train_batch_size: 2 },
    };
    const ablation = {
      base,
      grid: { r: [1, 4], lora_alpha: '2r' },
      seeds: [1, 2],
      tasks: './tasks.json',
      retain: './validation.jsonl',
      output_dir: './ranks',
    };
    await writeFile(join(folder, 'ablation.json'), JSON.stringify(ablation));
    const made = await lowrank('ablate', join(folder, 'ablation.json'), '--no-estimate', '--jobs', '1');
    expect(made.status, made.stderr).toBe(0);
    const { html, csv, json, plots } = await reportOf(join(folder, 'ranks'));
    for (const plot of [
      'validation-loss-rank',
      'metric-count-rougel-rank',
      'forgetting-count-rougel',
      'memory-rank',
      'speed-rank',
      'training-losses',
      'validation-losses',
      'spectra',
    ])
      expect(plots).toContain(`${plot}.svg`);
    expect(plots.some((name) => name.startsWith('phi-'))).toBe(true);
    for (const title of [
      'Results',
      'Score against rank',
      'Forgetting against gain',
      'Memory and speed against rank',
      'Subspace similarity',
      'Singular values',
      'Sample outputs',
      'Configuration',
      'Versions',
    ])
      expect(html).toContain(title);
    // What all runs have in common is said once.
    expect(html).toContain('All have lora_alpha=2r.');
    expect(html).toContain('>r=4<');
    expect(csv.trim().split('\n')).toHaveLength(5);
    expect(csv).toContain('forgetting.known/loss');
    // Answers of the same prompts beside each other, in words.
    const samples = json['samples'] as { prompt: string; answers: Record<string, string> }[];
    expect(samples.length).toBeGreaterThan(0);
    for (const { prompt, answers } of samples) {
      expect(prompt).not.toMatch(/^\d+ \d+ \d+/);
      expect(Object.keys(answers)).toEqual(['reference', 'r=1', 'r=4']);
    }
  });

  it('shows an evaluation with intervals and answers side by side', async () => {
    const path = join(folder, 'scores');
    const args = [
      '--model',
      join(folder, 'base'),
      '--adapter',
      `one=${join(folder, 'ranks/runs/r-1_lora_alpha-2r_seed-1')}`,
      `four=${join(folder, 'ranks/runs/r-4_lora_alpha-2r_seed-1')}`,
    ];
    const made = await lowrank(
      'eval',
      ...args,
      '--device',
      'wasm',
      '--tasks',
      join(folder, 'tasks.json'),
      '--resamples',
      '20',
      '--output',
      path,
    );
    expect(made.status, made.stderr).toBe(0);
    const lost = (
      JSON.parse(await readFile(join(path, 'eval.json'), 'utf8')) as {
        forgetting: Record<string, Record<string, number>>;
      }
    ).forgetting;
    expect(Object.keys(lost)).toEqual(['one', 'four']);
    expect(made.stdout).toMatch(/to be retained +metric +model +before +after +change/);
    for (const [model, { 'known/loss': forgotten = NaN }] of Object.entries(lost)) {
      expect(made.stdout).toMatch(
        new RegExp(
          `known +loss ↓ +${model} .*${forgotten < 0 ? '−' : '\\+'}${Number(Math.abs(forgotten).toPrecision(4))}\n`,
        ),
      );
    }
    const { html, csv, plots, json } = await reportOf(path);
    expect(json['forgetting']).toEqual(lost);
    expect(plots.sort()).toEqual([
      'forgetting-count-chrf.svg',
      'forgetting-count-rougel.svg',
      'score-chrf.svg',
      'score-loss.svg',
      'score-rougel.svg',
    ]);
    expect(html).toMatch(
      /<th scope="col"[^>]*>base<\/th><th scope="col"[^>]*>one<\/th><th scope="col"[^>]*>four<\/th>/,
    );
    expect(html).toContain('Sample outputs: count');
    // Three metrics of three models, and a header.
    expect(csv.trim().split('\n')).toHaveLength(10);
  });

  it('has a file and ids of its own for each plot, also where their names differ only in what no file name has', async () => {
    const path = join(folder, 'alike');
    await mkdir(path);
    const values = [
      { model: 'base', value: 1, low: 0, high: 2 },
      { model: 'one', value: 2, low: 1, high: 3 },
    ];
    await writeFile(
      join(path, 'eval.json'),
      JSON.stringify({
        model: 'm',
        metrics: ['chrf', 'chrf++'].map((metric) => ({ task: 't', metric, items: 3, values })),
      }),
    );
    const { html, json, plots } = await reportOf(path);
    expect(plots.sort()).toEqual(['score-chrf-2.svg', 'score-chrf.svg']);
    expect(json['plots']).toMatchObject([
      { file: 'plots/score-chrf.svg', title: 'chrf of every task' },
      { file: 'plots/score-chrf-2.svg', title: 'chrf++ of every task' },
    ]);
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('draws ranks whose alpha follows them as one line', async () => {
    const path = join(folder, 'followed');
    await mkdir(path);
    const runs = [4, 8].map((r) => ({
      id: `r${r}`,
      settings: { r, lora_alpha: 2 * r },
      seed: 1,
      config: { adapter: { method: 'lora', r } },
      validation_loss: 1 / r,
      metrics: { 't/pearson': null },
    }));
    const families = Object.fromEntries(runs.map(({ id }) => [id, { lora_alpha: '2r' }]));
    await writeFile(
      join(path, 'ablation.json'),
      JSON.stringify({ runs, baselines: { 'nf4-1': { 't/pearson': 0.25 } }, summary: { families } }),
    );
    const { html } = await reportOf(path);
    expect(html).toContain('All have lora_alpha=2r.');
    expect(html).toContain('>r=4</th>');
    expect(html).toContain('0.25 at rank 4, 0.125 at rank 8.');
    expect(html).toMatch(/<th scope="row">base<\/th><td[^>]*>–<\/td><td[^>]*>–<\/td><td[^>]*>0\.25<\/td>/);
  });

  it('measures what was forgotten by what there was, or each metric in its own unit', async () => {
    const [path, without] = [join(folder, 'retained'), join(folder, 'retained-without-base')];
    await mkdir(path);
    await mkdir(without);
    const before = { 'a/loss': 2, 'b/accuracy': 0.5, 'c/rougeL': 0.2 };
    const runs = [4, 8].map((r) => ({
      id: `r${r}`,
      settings: { r },
      seed: 1,
      config: { adapter: { method: 'lora', r } },
      validation_loss: 1 / r,
      metrics: { 'a/loss': 2 + 1 / r, 'b/accuracy': 0.5, 'c/rougeL': 0.2 + r / 100 },
      forgetting: { 'a/loss': 1 / r, 'b/accuracy': 0 },
    }));
    await writeFile(join(path, 'ablation.json'), JSON.stringify({ runs, baselines: { none: before } }));
    const shares = await reportOf(path);
    expect(shares.plots.filter((plot) => plot.startsWith('forgetting'))).toEqual(['forgetting-c-rougel.svg']);
    expect(shares.html).toContain(
      'change of c/rougeL (%) against the base, then forgetting (% of the value before). a/loss: r=4: 4, 12.5; r=8: 8, 6.25. b/accuracy: r=4: 4, 0; r=8: 8, 0.',
    );
    await writeFile(join(without, 'ablation.json'), JSON.stringify({ runs }));
    const { html, plots } = await reportOf(without);
    expect(html).toContain('Forgetting of b/accuracy against validation loss');
    expect(plots.filter((plot) => plot.startsWith('forgetting')).sort()).toEqual([
      'forgetting-validation-loss-a-loss.svg',
      'forgetting-validation-loss-b-accuracy.svg',
    ]);
    expect(html).toContain(
      'validation loss (lower is better), then forgetting of a/loss ↓. r=4: 0.25, 0.25; r=8: 0.125, 0.125.',
    );
  });

  it('makes one file that needs no network, and the same as text, table and pictures', async () => {
    const { status, stderr } = await lowrank('report', out);
    expect(status, stderr).toBe(0);
    const html = await readFile(join(out, 'report.html'), 'utf8');
    expect(html).toMatch(/^<!doctype html>/i);
    expect(html).toContain('prefers-color-scheme');
    expect(html).not.toMatch(/(?:src|href)="https?:/);
    const plots = await readdir(join(out, 'plots'));
    expect(plots.length).toBeGreaterThan(0);
    for (const plot of plots) expect(await readFile(join(out, 'plots', plot), 'utf8')).toMatch(/<svg[^]*<\/svg>\s*$/);
    expect(html.match(/<svg/g)?.length).toBeGreaterThanOrEqual(plots.length);
    const logged = (await readFile(join(out, 'metrics.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { loss?: number });
    const csv = await readFile(join(out, 'report.csv'), 'utf8');
    for (const { loss } of logged) if (loss !== undefined) expect(csv).toContain(String(loss));
    expect(await readFile(join(out, 'report.md'), 'utf8')).toContain('| ');
    expect(() => JSON.parse(csv) as unknown).toThrow();
    expect(JSON.parse(await readFile(join(out, 'report.json'), 'utf8'))).toBeTypeOf('object');
  });

  it('refuses a folder that holds no run', async () => {
    const { status, stderr } = await lowrank('report', join(folder, 'model'));
    expect(status).not.toBe(0);
    expect(stderr).toContain('model');
  });

  it('shows names and answers of others without letting them become markup', async () => {
    const hostile = '<script>alert(1)</script> | `x` [a](javascript:b) \x1b[31m\u202e\n# heading "\'&';
    const path = join(folder, 'hostile');
    await mkdir(path);
    const values = [
      { model: 'base', value: 0.5, low: 0.4, high: 0.6 },
      { model: hostile, value: 0.6, gain: 0.1 },
    ];
    const metrics = [
      { task: hostile, metric: hostile, items: 2, values },
      { task: 'kept', metric: 'loss', items: 2, retain: true, lowerIsBetter: true, values },
    ];
    const samples = ['base', hostile].map((name) => ({
      name,
      tasks: [{ task: hostile, samples: [{ prompt: hostile, answer: hostile, reference: hostile }] }],
    }));
    await writeFile(
      join(path, 'eval.json'),
      JSON.stringify({ model: hostile, adapters: [hostile], tasks: [{ name: hostile }], metrics, samples }),
    );
    const { html, plots } = await reportOf(path);
    expect(html).toContain(
      `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">`,
    );
    const markdown = (await readFile(join(path, 'report.md'), 'utf8')).replace(/^(`{3,})\n[^]*?\n\1$/gm, '');
    expect(markdown).not.toMatch(/<script|[^\\]\]\(javascript|^# heading/m);
    const drawings = await Promise.all(plots.map((plot) => readFile(join(path, 'plots', plot), 'utf8')));
    expect(drawings.length).toBeGreaterThan(0);
    for (const text of [html, markdown, ...drawings]) expect(text).not.toMatch(/<script|[\x1b\u202e]/);
    // Every row of a table has as many cells as its head.
    for (const table of markdown.matchAll(/(?:^\|.*\|\n)+/gm))
      expect(
        new Set(
          table[0]
            .trimEnd()
            .split('\n')
            .map((line) => line.split(/(?<!\\)\|/).length),
        ).size,
      ).toBe(1);
  });

  it('does not follow names of runs out of the folder', async () => {
    const path = join(folder, 'stranger');
    await mkdir(join(path, 'runs'), { recursive: true });
    await writeFile(join(folder, 'training_record.json'), JSON.stringify({ device: 'secret device' }));
    await writeFile(join(path, 'ablation.json'), JSON.stringify({ runs: [{ id: '../..', validation_loss: 1 }] }));
    const { status, stderr } = await lowrank('report', path);
    expect(status, stderr).toBe(0);
    expect(await readFile(join(path, 'report.html'), 'utf8')).not.toContain('secret device');
  });
});
