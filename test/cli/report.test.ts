import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';
let out = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-report-'));
  out = join(folder, 'out');
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(24, 1)));
  const run = { model: './model', device: 'wasm', data: { train: './train.jsonl', validation_split: 0.25 }, training: { output_dir: './out', max_steps: 6, eval_steps: 2, logging_steps: 1 } };
  await writeFile(join(folder, 'run.json'), JSON.stringify(run));
  const { status, stderr } = await lowrank('train', join(folder, 'run.json'));
  expect(status, stderr).toBe(0);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('lowrank report', () => {
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
    const logged = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as { loss?: number });
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
});
