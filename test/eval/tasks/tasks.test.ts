import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { forgettingOf } from '../../../src/ablation/evaluation.js';
import { openTaskSources } from '../../../src/workspace/task-files.js';
import { likelihoods } from '../../../src/eval/likelihood.js';
import { compare, comparisonTable, forgetting, retainedTable } from '../../../src/eval/tasks/compare.js';
import { choiceItems, generateItems } from '../../../src/eval/tasks/rows.js';
import { runTask, type TaskResult } from '../../../src/eval/tasks/run.js';
import { parseTasks, type ChoiceTask, type GenerateTask } from '../../../src/eval/tasks/schema.js';
import { localDirectory } from '../../../src/io/node.js';
import { loadModel } from '../../../src/model/load.js';
import { loadTokenizer, type Tokenizer } from '../../../src/tokenizer/tokenizer.js';
import { describeBackends } from '../../support/backends.js';
import { itReferences, referencePath } from '../../support/references.js';

const BASE = 'configs/quickstart/base';
const rows = (list: readonly unknown[]) => ({ data: [{ name: 'rows', rows: list }] });

function task<T>(fields: object): T {
  return parseTasks(JSON.stringify({ tasks: [{ name: 'task', data: 'x.jsonl', ...fields }] }), 'tasks.yaml')[0] as T;
}

describe('task files', () => {
  it('say everything that is wrong with them', () => {
    const source = [
      'tasks:',
      '  - name: a',
      '    type: generate',
      '    data: x',
      '    prompt: "{{ a }}"',
      '    metrics: [bleurt, rougel, {name: f1, labl: x}]',
      '    generaton: {}',
      '  - {name: b, type: choice, data: x}',
      '  - {name: c, type: loss, data: x, max_length: 1, metrics: [los]}',
    ].join('\n');
    let message = '';
    try {
      parseTasks(source, 't.yaml');
    } catch (error) {
      message = (error as Error).message;
    }
    expect(
      message.split('\n').map((line) => line.trim().replace(/(must be |is required: ).*?(?=, not|$)/, '$1…')),
    ).toEqual([
      '9 problems in the task file t.yaml',
      't.yaml:2:5: tasks[0].references is required: …',
      't.yaml:6:15: tasks[0].metrics[0] must be …, not "bleurt": did you mean bleu?',
      't.yaml:6:23: tasks[0].metrics[1] must be …, not "rougel": did you mean rougeL?',
      't.yaml:6:31: tasks[0].metrics[2].label is required: …',
      't.yaml:6:42: tasks[0].metrics[2].labl unknown key: did you mean label?',
      't.yaml:7:5: tasks[0].generaton unknown key: did you mean generation?',
      't.yaml:8:15: tasks[1].type must be …, not "choice"',
      't.yaml:9:36: tasks[2].max_length must be …, not 1',
      't.yaml:9:61: tasks[2].metrics[0] must be …, not "los": did you mean loss?',
    ]);
    expect(message).toContain('tasks[1].type must be generate, multiple_choice or loss, not "choice"');
    expect(() =>
      parseTasks('tasks: [{name: a, type: loss, data: x, metrics: [loss], prompt: "{{ a b }}"}]', 't.yaml'),
    ).toThrow(/^t\.yaml:1:\d+: tasks\[0\]\.prompt does not parse: .*row\['…'\]/);
    expect(() => parseTasks('- a', 't.yaml')).toThrow(/^t\.yaml: the task must be a section/);
    expect(() => parseTasks('tasks: [', 't.yaml')).toThrow(/^t\.yaml:1:9: /);
    const twice = { name: 'a', type: 'loss', data: 'x', metrics: ['loss'] };
    expect(() => parseTasks(JSON.stringify({ tasks: [twice, twice] }), 't.yaml')).toThrow('two tasks are called a');
  });

  it('make prompts with solved rows in front, and group references', async () => {
    const generate = task<GenerateTask>({
      type: 'generate',
      prompt: 'Q: {{ q }}\nA:',
      references: 'a',
      group: true,
      few_shot: { data: 'y', count: 1, match: 'k' },
      metrics: ['bleu'],
    });
    const sources = {
      ...rows([
        { q: '1+1', a: '2', k: 'x' },
        { q: '1+1', a: 'two', k: 'x' },
        { q: '3', a: '3', k: 'z' },
      ]),
      fewShot: {
        name: 'shots',
        rows: [
          { q: '0', a: '0', k: 'z' },
          { q: '5', a: '5', k: 'x' },
        ],
      },
    };
    expect(await generateItems(generate, sources)).toEqual([
      { prompt: 'Q: 5\nA: 5\n\nQ: 1+1\nA:', references: ['2', 'two'] },
      { prompt: 'Q: 0\nA: 0\n\nQ: 3\nA:', references: ['3'] },
    ]);
    await expect(generateItems(generate, { ...sources, ...rows([{ q: '1', a: '1', k: 'none' }]) })).rejects.toThrow(
      '0 rows with the same k, 1 are asked for',
    );
    await expect(generateItems({ ...generate, prompt: 'Q: {{ question }}' }, sources)).rejects.toThrow(
      'task: prompt needs "question" (found nothing); the row has "q", "a", "k"',
    );
    await expect(generateItems({ ...generate, references: 'b' }, sources)).rejects.toThrow('field "b" holds nothing');
  });

  it('read choices from lists and objects', async () => {
    const choice = task<ChoiceTask>({
      type: 'multiple_choice',
      prompt: '{{ q }}',
      choices: 'c',
      answer: 'a',
      choice_template: ' {{ letter }}) {{ choice }}',
      metrics: ['accuracy'],
    });
    expect(
      await choiceItems(
        choice,
        rows([
          { q: 'one?', c: ['x', 'y'], a: 1 },
          { q: 'two?', c: { yes: 1, no: 0, aye: 1 } },
        ]),
      ),
    ).toEqual([
      {
        prompt: 'one?',
        choices: [
          { text: ' A) x', correct: false },
          { text: ' B) y', correct: true },
        ],
      },
      {
        prompt: 'two?',
        choices: [
          { text: ' A) yes', correct: true },
          { text: ' B) no', correct: false },
          { text: ' C) aye', correct: true },
        ],
      },
    ]);
    await expect(choiceItems(choice, rows([{ q: '?', c: ['x'], a: 3 }]))).rejects.toThrow(
      'answer 3 is none of 1 choices',
    );
  });

  // What only reads files of this repository reads them from where it lies.
  for (const file of readdirSync('configs/tasks')) {
    const own = readFileSync(join('configs/tasks', file), 'utf8').includes('data: ../');
    itReferences(`${file} reads its data set`, own ? [] : 'datasets', async () => {
      const folder = own ? 'configs/tasks' : referencePath('datasets');
      const tasks = parseTasks(readFileSync(join('configs/tasks', file), 'utf8'), file);
      const sources = await openTaskSources(tasks, folder);
      for (const each of tasks) {
        const limited = { ...each, limit: 5 };
        if (limited.type === 'loss') continue;
        const items =
          limited.type === 'generate'
            ? await generateItems(limited, sources.of(each))
            : await choiceItems(limited, sources.of(each));
        expect(items).toHaveLength(5);
        for (const item of items)
          expect('choices' in item ? item.choices.some(({ correct }) => correct) : item.references.length > 0).toBe(
            true,
          );
        expect(items[0]?.prompt).not.toContain('{{');
      }
      await sources.close();
    });
  }
});

describeBackends('tasks', ['wasm', 'webgpu'], () => {
  it('rate tokens as the logits say', async () => {
    const decoder = await loadModel(localDirectory(BASE));
    const ids = [
      [5, 9, 20, 33],
      [7, 8, 9],
    ];
    const rated = await likelihoods(
      decoder,
      ids.map((row) => ({ ids: row, promptLength: 1 })),
    );
    for (const [i, row] of ids.entries()) {
      const logs = tf.tidy(() =>
        tf.logSoftmax(decoder.logits(decoder.hidden({ ids: tf.tensor1d(row, 'int32'), batch: 1, length: row.length }))),
      );
      const values = await logs.array();
      logs.dispose();
      const sum = row.slice(1).reduce((total, token, t) => total + (values as number[][])[t]![token]!, 0);
      expect(rated[i]?.logLikelihood).toBeCloseTo(sum, 3);
      expect(rated[i]).toMatchObject({ tokens: row.length - 1, greedy: false });
    }
    decoder.dispose();
  });

  it('measure what a model can do, the same every time', async () => {
    const decoder = await loadModel(localDirectory(BASE));
    const tokenizer = (await loadTokenizer(localDirectory(BASE))) as Tokenizer;
    const retain = readFileSync('configs/quickstart/retain.jsonl', 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { task: string; prompt: string; completion: string });
    const sentiment = retain.filter((row) => row.task === 'sentiment').slice(0, 8);
    const context = { decoder, tokenizer, resamples: 50 };
    const generate = task<GenerateTask>({
      type: 'generate',
      prompt: '{{ prompt }}',
      references: 'completion',
      generation: { max_new_tokens: 4, stop: ['\n'] },
      metrics: ['accuracy', 'exact_match'],
    });
    const answered = await runTask(generate, rows(sentiment), context);
    const choice = task<ChoiceTask>({
      type: 'multiple_choice',
      prompt: '{{ prompt }}',
      choices: 'choices',
      answer: 'completion',
      metrics: ['accuracy', 'calibration_error'],
      choice_template: '{{ choice }}',
    });
    const choices = [...new Set(sentiment.map((row) => row.completion))];
    const chosen = await runTask(choice, rows(sentiment.map((row) => ({ ...row, choices }))), context);
    // The base was pretrained on this; both ways of asking find it.
    expect(answered.metrics['accuracy']?.value).toBeGreaterThan(0.7);
    expect(chosen.metrics['accuracy']?.value).toBeGreaterThan(0.7);
    expect(answered.metrics['accuracy']?.low).toBeLessThanOrEqual(answered.metrics['accuracy']?.value as number);
    const loss = task({
      type: 'loss',
      prompt: '{{ prompt }}',
      completion: '{{ completion }}',
      metrics: ['loss', 'perplexity', 'bits_per_byte'],
    });
    const measured = await runTask(loss as GenerateTask, rows(sentiment), context);
    expect(measured.metrics['perplexity']?.value).toBeCloseTo(Math.exp(measured.metrics['loss']?.value as number), 9);
    expect(await runTask(loss as GenerateTask, rows(sentiment), context)).toEqual(measured);
    decoder.dispose();
  });
});

describe('comparison', () => {
  const result = (task: string, value: number): TaskResult => ({
    task,
    items: 4,
    truncated: 0,
    metrics: { perplexity: { value, low: value - 1, high: value + 1 } },
    samples: [],
  });

  it('tells gains and what was forgotten', () => {
    const metrics = compare(
      [
        { name: 'base', results: [result('new', 9), result('old', 4)] },
        { name: 'a', results: [result('new', 5), result('old', 6)] },
      ],
      new Set(['old']),
    );
    expect(metrics.map(({ values }) => values[1]?.gain)).toEqual([4, -2]);
    expect(forgetting(metrics)).toEqual({ a: { 'old/perplexity': 2 } });
    expect(retainedTable(metrics).rows).toEqual([['old', 'perplexity ↓', 'a', '4', '6', '+2']]);
    expect(forgetting(metrics.filter(({ retain }) => !retain))).toBeUndefined();
    expect(comparisonTable(metrics).rows[1]).toEqual([
      'old (retain)',
      expect.stringMatching(/^\d+$/),
      'perplexity ↓',
      '4 [3, 5]',
      '6 [5, 7] +2',
    ]);
  });
});

describe('what was to be retained', () => {
  const result = (accuracy: number, loss: number): TaskResult => ({
    task: 'old',
    items: 4,
    truncated: 0,
    metrics: { accuracy: { value: accuracy, low: 0, high: 1 }, loss: { value: loss, low: 0, high: 9 } },
    samples: [],
  });

  it('has a row a metric, shares in percent, above zero where the metric has grown, and none without numbers', () => {
    const metrics = compare(
      [
        { name: 'base', results: [result(0.75, 3)] },
        { name: 'a', results: [result(0.5, 2.5)] },
        { name: 'b', results: [result(NaN, 4)] },
      ],
      new Set(['old']),
    );
    expect(forgetting(metrics)).toEqual({ a: { 'old/accuracy': 0.25, 'old/loss': -0.5 }, b: { 'old/loss': 1 } });
    expect(retainedTable(metrics)).toEqual({
      header: ['to be retained', 'metric', 'model', 'before', 'after', 'change'],
      rows: [
        ['old', 'accuracy (%)', 'a', '75', '50', '−25'],
        ['old', 'loss ↓', 'a', '3', '2.5', '−0.5'],
        ['old', 'loss ↓', 'b', '3', '4', '+1'],
      ],
    });
    // In files the sign is that of ablations.
    const retained = new Map(metrics.map(({ metric, lowerIsBetter }) => [metric, lowerIsBetter]));
    expect(forgettingOf({ accuracy: 0.5, loss: 2.5 }, { accuracy: 0.75, loss: 3 }, retained)).toEqual({
      accuracy: 0.25,
      loss: -0.5,
    });
  });
});
