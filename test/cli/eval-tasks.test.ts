import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';

const BASE = 'configs/quickstart/base';
// The context is of 512 tokens.
const TASKS = {
  tasks: [
    {
      name: 'asked',
      type: 'generate',
      data: 'rows.json',
      prompt: '{% for i in range(n) %}The cat sat. {% endfor %}',
      references: 'text',
      generation: { max_new_tokens: 2 },
      metrics: ['exact_match'],
    },
    { name: 'read', type: 'loss', data: 'rows.json', max_length: 8, metrics: ['loss'] },
    { name: 'short', type: 'loss', data: 'rows.json', metrics: ['loss'] },
  ],
};

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-eval-tasks-'));
  await writeFile(
    join(folder, 'rows.json'),
    JSON.stringify([
      { n: 1, text: 'The cat' },
      { n: 200, text: 'The dog ran to the park and saw a ball.' },
    ]),
  );
  await writeFile(join(folder, 'tasks.json'), JSON.stringify(TASKS));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

it('tells what was cut', async () => {
  const args = ['eval', '--model', BASE, '--device', 'wasm', '--tasks', join(folder, 'tasks.json'), '--resamples', '0'];
  const shown = await lowrank(...args);
  expect(shown.status, shown.stderr).toBe(0);
  expect(shown.stdout.trimEnd().split('\n').slice(-2)).toEqual([
    'asked: prompts cut from the left to fit the context: 1',
    'read: texts cut at max_length or the end of the context: 1',
  ]);
  expect(shown.stdout).toMatch(/^task +n +metric +base\n[^]*\nasked +2 +exact_match /);
  expect(shown.stdout).toMatch(
    /\nasked, item 1\n {2}prompt +"The cat sat\. "\n {2}reference +"The cat"\n {2}base +".*"\n/,
  );
  expect(shown.stderr).toMatch(/base: asked: 2 items in [\d.]+s/);
  const { stdout } = await lowrank(...args, '--json', '--output', join(folder, 'scores'));
  const notes =
    'asked: prompts cut from the left to fit the context: 1\n\nread: texts cut at max_length or the end of the context: 1\n';
  expect((await readFile(join(folder, 'scores/eval.md'), 'utf8')).endsWith(`\n\n${notes}`)).toBe(true);
  const reported = await lowrank('report', join(folder, 'scores'), '--output', join(folder, 'report'));
  expect(reported.status, reported.stderr).toBe(0);
  expect(await readFile(join(folder, 'report/report.md'), 'utf8')).toContain(
    'Rows that were too long and were cut: 1 of asked (base), 1 of read (base).',
  );
  expect(JSON.parse(stdout)).toMatchObject({ truncated: { base: { asked: 1, read: 1, short: 0 } }, forgetting: null });
});

it('finds the included task files by name, and says what is wrong with others', async () => {
  const args = ['eval', '--model', BASE, '--device', 'wasm'];
  const included = await lowrank(...args, '--tasks', 'quickstart', '--limit', '1', '--resamples', '0');
  expect(included.status, included.stderr).toBe(0);
  expect(included.stdout).toMatch(/\nsummaries +1 +rougeL/);
  const none = await lowrank(...args, '--tasks', 'dialogsun');
  expect(none.status).toBe(2);
  expect(none.stderr).toContain(
    '--tasks: dialogsun: no such file; did you mean dialogsum? The included task files are dialogsum, e2e, gsm8k, hellaswag, mmlu, quickstart, truthfulqa',
  );
  await writeFile(
    join(folder, 'wrong.yaml'),
    'tasks: [{name: a, type: loss, data: rows.json, prompt: "{{ txt }}", metrics: [loss]}]',
  );
  const absent = await lowrank(...args, '--tasks', join(folder, 'wrong.yaml'));
  expect(absent.status).toBe(3);
  expect(absent.stderr).toContain('a: prompt needs "txt" (found nothing); the row has "n", "text"');
});
