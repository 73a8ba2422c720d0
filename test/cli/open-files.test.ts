import { cp, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { completeConfig } from '../../src/config/load.js';
import { finetune, openSession } from '../../src/index.js';
import { nodeHost, openRun, openRunData, localDirectory, trainToFolder } from '../../src/node.js';
import { lowrank } from '../support/cli.js';
import { toJsonl } from '../support/tiny-model.js';

let folder = '';
let run = '';
const at = (name: string): string => join(folder, name);

/** What Node says of a file that nobody has closed and that the garbage collector did. */
const warnings: string[] = [];
process.on('warning', ({ message }) => /garbage collection/.test(message) && warnings.push(message));

/** Files of this test's folder that this process has open. */
async function openFiles(): Promise<string[]> {
  const targets = await Promise.all(
    (await readdir('/proc/self/fd')).map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(folder)).sort();
}

const CONFIG = {
  device: 'wasm',
  adapter: { r: 2 },
  training: { max_steps: 2, save_strategy: 'no', output_dir: 'unused' },
} as const;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-open-files-'));
  await cp('configs/quickstart/base', at('base'), { recursive: true });
  const rows = Array.from({ length: 6 }, (_, i) => ({ prompt: `Anna: hi ${i}`, completion: ` Anna greets ${i}.` }));
  await writeFile(at('rows.jsonl'), toJsonl(rows));
  await writeFile(
    at('tasks.yaml'),
    JSON.stringify({ tasks: [{ type: 'loss', name: 'a', data: 'texts.jsonl', metrics: ['loss'] }] }),
  );
  await writeFile(at('texts.jsonl'), toJsonl([{ text: 'Anna greets Tom.' }]));
  await writeFile(at('requests.jsonl'), toJsonl([{ prompt: 'Anna' }]));
  run = at('run');
  const config = {
    ...CONFIG,
    model: at('base'),
    data: { train: at('rows.jsonl'), validation: at('rows.jsonl') },
    training: { ...CONFIG.training, output_dir: run },
  };
  await writeFile(at('run.yaml'), JSON.stringify(config));
  const { status, stderr } = await lowrank('train', at('run.yaml'));
  expect(status, stderr).toBe(0);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(process.platform !== 'linux')('no file stays open', () => {
  it('after training', async () => {
    expect(await openFiles()).toEqual([]);
  });

  it.each([
    ['generate', ['generate', 'RUN', '--prompt', 'Anna', '--max-new-tokens', '2', '--device', 'wasm'], 0],
    [
      'generate of requests',
      ['generate', 'RUN', '--requests', 'requests.jsonl', '--max-new-tokens', '2', '--device', 'wasm'],
      0,
    ],
    ['eval', ['eval', 'RUN', '--data', 'rows.jsonl', '--device', 'wasm'], 0],
    ['eval of tasks', ['eval', 'RUN', '--tasks', 'tasks.yaml', '--device', 'wasm'], 0],
    [
      'eval of rows that do not fit',
      ['eval', 'RUN', '--data', 'rows.jsonl', '--template', '{{ nothing }}', '--device', 'wasm'],
      3,
    ],
    ['verify', ['verify', 'RUN', '--device', 'wasm'], 0],
    ['export merged', ['export', 'RUN', '--format', 'merged', '-o', 'OUT', '--device', 'wasm'], 0],
    ['export peft', ['export', 'RUN', '--format', 'peft', '-o', 'OUT'], 0],
    ['export gguf', ['export', 'RUN', '--format', 'gguf', '-o', 'OUT'], 0],
    ['quantize', ['quantize', 'base', '-o', 'OUT'], 0],
    ['inspect', ['inspect', 'RUN'], 0],
    ['inspect of a model', ['inspect', 'base'], 0],
    ['data', ['data', 'run.yaml'], 0],
    ['plan', ['plan', 'run.yaml'], 0],
    ['init', ['init', 'rows.jsonl', '--yes', '-o', 'OUT'], 0],
  ] as const)('after %s', async (name, args, expected) => {
    const output = at(`out-${name.replaceAll(' ', '-')}`);
    const given = args.map((word) =>
      word === 'RUN'
        ? run
        : word === 'OUT'
          ? output
          : word === 'base' || /\.(?:yaml|jsonl)$/.test(word)
            ? at(word)
            : word,
    );
    const { status, stderr } = await lowrank(...given);
    expect(status, stderr).toBe(expected);
    expect(await openFiles()).toEqual([]);
  });

  it('after a session is closed, and after one that could not be opened', async () => {
    const session = await openSession({ ...(await openRun(run)), device: 'wasm', host: nodeHost });
    await session.dispose();
    expect(await openFiles()).toEqual([]);
    await cp(at('base'), at('cut'), { recursive: true });
    const bytes = await readFile(at('cut/model.safetensors'));
    await writeFile(at('cut/model.safetensors'), bytes.subarray(0, bytes.length - 100));
    await expect(openSession({ model: localDirectory(at('cut')), device: 'wasm', host: nodeHost })).rejects.toThrow(
      'cut/model.safetensors',
    );
    expect(await openFiles()).toEqual([]);
  });

  it('after finetune, whose rows the caller has opened and closes', async () => {
    const config = { ...CONFIG, model: at('base'), data: { train: at('rows.jsonl') } };
    const data = await openRunData(completeConfig(config));
    try {
      const before = await openFiles();
      expect(before).toContain(at('rows.jsonl'));
      await finetune({ config, host: nodeHost, model: localDirectory(at('base')), data: data.data });
      expect(await openFiles()).toEqual(before);
    } finally {
      await data.close();
    }
    expect(await openFiles()).toEqual([]);
    expect(warnings).toEqual([]);
    await trainToFolder({ ...config, training: { ...config.training, output_dir: at('out-library') } });
    expect(await openFiles()).toEqual([]);
  });
});
