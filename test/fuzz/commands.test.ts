import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { Random } from '../../src/random.js';
import { lowrank, type Outcome } from '../support/cli.js';
import { tinyModelFiles } from '../support/tiny-model.js';
import { withHub } from './hub-files.js';
import { mutate, type Files } from './mutate.js';
import { TARGETS } from './parsers.js';
import { changes } from './wrong-types.js';

const BASE = resolve('configs/quickstart/base');
/** Of each kind: fields of a wrong type, and bytes that were changed. */
const TRIED = 8;

type Command = (folder: string, files: Files) => Promise<Outcome>;

async function write(folder: string, files: Files): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  return folder;
}

/** A mutation may leave no file. */
const first = (files: Files): string => Object.keys(files)[0] ?? 'missing';
const at = (folder: string, files: Files): string => join(folder, first(files));
const textOf = (content: Files[string] | undefined): string =>
  typeof content === 'string' ? content : new TextDecoder().decode(content);

/** Rows that a file offers: what `init` finds in it, and the loss over them. */
const rows: Command = async (folder, files) => {
  const proposed = await lowrank('init', at(folder, files), '--yes', '--output', join(folder, 'made.yaml'), '--force');
  return proposed.status === 70 ? proposed : lowrank('eval', BASE, '--data', at(folder, files), '--device', 'wasm');
};
const inspect: Command = (folder) => lowrank('inspect', folder);
const generate = (...args: string[]): Promise<Outcome> =>
  lowrank('generate', BASE, ...args, '--max-new-tokens', '1', '--device', 'wasm');

/** A command that reads files of each kind. */
const COMMANDS: Readonly<Record<string, Command>> = {
  json: (folder, files) => generate('--row', at(folder, files)),
  rows,
  parquet: rows,
  conversations: (folder, files) =>
    lowrank('eval', BASE, '--data', at(folder, files), '--chat-template', 'chatml', '--device', 'wasm'),
  config: async (folder, files) => {
    await write(join(folder, 'model'), tinyModelFiles());
    return lowrank('plan', at(folder, files));
  },
  override: async (folder, files) => {
    await write(folder, { 'run.yaml': `model: ${BASE}\ndata: {train: rows.jsonl}\n`, 'rows.jsonl': '{"text": "a"}\n' });
    const output = `training.output_dir=${join(folder, 'out')}`;
    const steps = ['--set', output, '--set', 'training.max_steps=1', '--set', textOf(files['set'])];
    return lowrank('train', join(folder, 'run.yaml'), ...steps);
  },
  tokenizer: async (folder) => inspect(await write(folder, tinyModelFiles()), {}),
  template: async (folder, files) => {
    await write(folder, { 'm.json': '[{"role": "user", "content": "a b"}]' });
    return generate('--messages', join(folder, 'm.json'), '--chat-template', at(folder, files));
  },
  model: inspect,
  adapter: (folder) => lowrank('inspect', folder, '--model', BASE),
  safetensors: (folder, files) => lowrank('inspect', at(folder, files)),
  gguf: (folder, files) => lowrank('inspect', at(folder, files)),
  checkpoint: async (folder, files) => {
    const out = join(folder, 'out');
    await write(join(out, 'checkpoint-3'), files);
    await write(folder, { 'run.yaml': `model: ${BASE}\ndata: {train: rows.jsonl}\n`, 'rows.jsonl': '{"text": "a"}\n' });
    const set = ['--set', `training.output_dir=${out}`, '--set', 'training.max_steps=1'];
    return lowrank('train', join(folder, 'run.yaml'), ...set, `--resume=${join(out, 'checkpoint-3')}`);
  },
  tasks: (folder, files) => lowrank('eval', BASE, '--tasks', at(folder, files), '--device', 'wasm'),
  record: async (folder) => {
    const adapter = TARGETS.find(({ name }) => name === 'adapter');
    const [files] = (await adapter?.seeds()) ?? [];
    return lowrank('verify', await write(folder, files ?? {}), '--model', BASE, '--device', 'wasm');
  },
  report: (folder) => lowrank('report', folder, '--output', join(folder, 'report')),
  hub: (folder, files) =>
    withHub(files, folder, (cacheDir) => {
      vi.stubEnv('HF_HUB_CACHE', cacheDir);
      vi.stubEnv('HF_ENDPOINT', 'http://hub.invalid');
      vi.stubEnv('HF_HUB_OFFLINE', '');
      return lowrank('inspect', 'org/name');
    }),
  requests: (folder, files) => generate('--requests', at(folder, files), '--chat-template', 'chatml'),
};
/** Messages of a queue come from a server (test/cli/queue has one), and no command reads TensorBoard's files. */
const WITHOUT_COMMAND = ['checkpoint of the queue', 'queue', 'tfrecord'];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lowrank-commands-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
afterEach(() => {
  vi.unstubAllEnvs();
});

it('every kind of file has a command that reads it', () => {
  const names = TARGETS.map(({ name }) => name);
  expect([...Object.keys(COMMANDS), ...WITHOUT_COMMAND].sort()).toEqual([...names].sort());
});

it.each(Object.entries(COMMANDS))(
  '%s: a command ends with its own error or a result, whatever is wrong with the file',
  async (name, command) => {
    const target = TARGETS.find((one) => one.name === name);
    const seeds = (await target?.seeds()) ?? [];
    const wrong = [...changes(seeds)];
    const step = Math.max(1, Math.floor(wrong.length / TRIED));
    const typed = wrong.filter((_, i) => i % step === 0).slice(0, TRIED);
    const random = new Random(1, `commands ${name}`);
    const mutated = Array.from({ length: TRIED }, (_, i) => ({
      files: mutate(seeds[i % seeds.length] as Files, random),
      what: `mutation ${i}`,
    }));
    const unexpected: string[] = [];
    let count = 0;
    for (const { files, what } of [...seeds.map((files) => ({ files, what: 'as it is' })), ...typed, ...mutated]) {
      const folder = await write(join(root, `${name}-${count++}`), files);
      const { status, stderr } = await command(folder, files);
      const shown = status === null || status === 70 || /unexpected error|\n {4}at /.test(stderr);
      if (shown) unexpected.push(`${what}: status ${status}: ${stderr.slice(-300)}`);
      await rm(folder, { recursive: true, force: true });
    }
    expect(unexpected).toEqual([]);
  },
  300_000,
);
