import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEvaluation } from '../../../src/workspace/ablation/evaluation-files.js';

const TASKS = {
  tasks: [
    {
      name: 'asked',
      type: 'generate',
      data: 'rows.jsonl',
      prompt: '{{ q }}',
      references: 'a',
      few_shot: { data: 'solved.jsonl', count: 1 },
      metrics: ['bleu', { name: 'bertscore', model: 'encoder' }],
    },
    {
      name: 'known',
      type: 'loss',
      data: 'rows.jsonl',
      prompt: '{{ q }}',
      completion: '{{ a }}',
      metrics: ['loss'],
      retain: true,
    },
  ],
};
const FILES: Readonly<Record<string, string>> = {
  'tasks.json': JSON.stringify(TASKS),
  'rows.jsonl': '{"q":"one","a":"1"}',
  'solved.jsonl': '{"q":"two","a":"2"}',
  'encoder/tokenizer.json': '{}',
  'encoder/onnx/model.onnx': 'weights',
};

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-evaluation-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Of an evaluation whose files lie in a folder of this name. */
async function hashOf(name: string, changed: Readonly<Record<string, string>> = {}): Promise<string | undefined> {
  for (const [file, content] of Object.entries({ ...FILES, ...changed })) {
    const path = join(folder, name, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  const opened = await openEvaluation(
    { tasks: join(folder, name, 'tasks.json'), tasksData: undefined, retain: [] },
    2,
    { onMessage: () => undefined },
  );
  await opened.close();
  return opened.evaluation?.hash;
}

it('is known by every file that its numbers follow from, wherever they lie', async () => {
  const hashes = [await hashOf('first')];
  expect(await hashOf('second')).toBe(hashes[0]);
  for (const file of Object.keys(FILES)) hashes.push(await hashOf('changed', { [file]: `${FILES[file]}\n` }));
  expect(new Set(hashes).size).toBe(1 + Object.keys(FILES).length);
});
