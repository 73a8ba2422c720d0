import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/adapters/adapter.js';
import { adapterFiles } from '../../src/adapters/peft/files.js';
import { loadConfig } from '../../src/config/load.js';
import { localDirectory, nodeHost } from '../../src/node.js';
import { openSession } from '../../src/session.js';
import { describeBackends } from '../support/backends.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

const CONFIG = `
model: ./model
adapter: { r: 8, lora_dropout: 0.05 }
data: { train: train.jsonl, validation: validation.jsonl, test: test.jsonl, max_length: 100 }
training: { output_dir: out, max_steps: 16, per_device_train_batch_size: 8, learning_rate: 0.02, logging_steps: 4, eval_steps: 4 }
`;

let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-train-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl([...countingRows(64, 1), { input_ids: [7] }]));
  await writeFile(join(folder, 'validation.jsonl'), toJsonl(countingRows(16, 2)));
  await writeFile(join(folder, 'test.jsonl'), toJsonl(countingRows(16, 3)));
  config = join(folder, 'run.yaml');
  await writeFile(config, CONFIG);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function metrics(out: string): Promise<Record<string, number>[]> {
  const text = await readFile(join(out, 'metrics.jsonl'), 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
}

describeBackends('lowrank train', ['wasm', 'webgpu'], (backend) => {
  let out: string;

  beforeAll(() => {
    out = join(folder, `out-${backend}`);
  });

  it('trains, logs and writes an adapter', async () => {
    const { status, stdout, stderr } = await lowrank(
      'train',
      config,
      '--set',
      `device=${backend}`,
      '--set',
      `training.output_dir=${out}`,
    );
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: `${out}\n` });
    expect(stderr).toMatch(new RegExp(`^device: ${backend}, \\S`, 'm'));
    expect(stderr).toContain('llama, 2 layers, hidden 32');
    expect(stderr).toContain("data.max_length 100 is more than the model's context: 64 is taken");
    expect(stderr).toMatch(
      /train: 64 rows \(tokens\), 768 tokens, 704 supervised, longest 12, 1 dropped\n {2}dropped .*train.jsonl, row 65: nothing to learn/,
    );
    expect(stderr).toMatch(/parameters: trainable [\d.]+k \(.*\), total/);
    expect(stderr).toContain('step 16/16');
    expect((await readdir(out)).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'checkpoint-16',
      'checkpoint-8',
      'config.yaml',
      'metrics.jsonl',
      'training_record.json',
    ]);

    const lines = await metrics(out);
    const steps = lines.filter((line) => line['learning_rate'] !== undefined);
    expect(steps.map((line) => line['step'])).toEqual([4, 8, 12, 16]);
    expect(Object.keys(steps[0] ?? {})).toEqual([
      'step',
      'epoch',
      'loss',
      'learning_rate',
      'grad_norm',
      'tokens',
      'tokens_per_second',
      'memory_bytes',
    ]);
    const losses = lines.flatMap((line) => line['eval_loss'] ?? []);
    expect(losses).toHaveLength(4);
    expect(losses.at(-1)).toBeLessThan(0.9 * (losses[0] as number));
    expect(lines.at(-1)?.['test_loss']).toBeLessThan(losses[0] as number);

    const saved = JSON.parse(await readFile(join(out, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    expect(saved).toMatchObject({
      peft_type: 'LORA',
      r: 8,
      lora_dropout: 0.05,
      base_model_name_or_path: join(folder, 'model'),
    });
    const resolved = loadConfig(await readFile(join(out, 'config.yaml'), 'utf8'), 'config.yaml', [], { file: out });
    expect(resolved).toMatchObject({ device: backend, training: { output_dir: out, seed: 42 } });
  });

  it('gives an adapter that evaluates as in training, fits, and generates', async () => {
    const model = ['--model', join(folder, 'model'), '--adapter', out, '--device', backend];
    const evaluated = await lowrank('eval', ...model, '--data', join(folder, 'validation.jsonl'), '--json');
    const result = JSON.parse(evaluated.stdout) as Record<string, number>;
    const best = Math.min(...(await metrics(out)).flatMap((line) => line['eval_loss'] ?? []));
    expect(Math.abs((result['loss'] as number) - best)).toBeLessThan(1e-5);
    expect(result).toMatchObject({ tokens: 16 * 11, rows: 16 });
    expect(result['perplexity']).toBeCloseTo(Math.exp(best), 3);

    const runs = [];
    for (let run = 0; run < 2; run++) {
      runs.push(
        (
          await lowrank(
            'generate',
            ...model,
            '--prompt-tokens',
            '5,6,7',
            '--max-new-tokens',
            '6',
            '--temperature',
            '1',
            '--seed',
            '3',
            '--json',
          )
        ).stdout,
      );
    }
    expect(runs[0]).toBe(
      runs[1]?.replace(/"tokens_per_second":[\d.]+/, /"tokens_per_second":[\d.]+/.exec(runs[0] as string)?.[0] ?? ''),
    );
    expect(JSON.parse(runs[0] as string)).toMatchObject({ text: null, prompt_tokens: 3 });

    const fit = await lowrank('inspect', out, '--model', join(folder, 'model'));
    expect({ status: fit.status, stderr: fit.stderr }).toEqual({ status: 0, stderr: '' });
    expect(fit.stdout).toContain(`fits ${join(folder, 'model')}`);
  });

  it('gives an adapter that is the same to the byte when it is saved again', async () => {
    const session = await openSession({
      model: localDirectory(join(folder, 'model')),
      adapter: localDirectory(out),
      device: backend,
      host: nodeHost,
    });
    try {
      expect(session.adapters.adapter).toBeDefined();
      const files = await adapterFiles(session.adapters.adapter as Adapter);
      expect(Object.keys(files).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
      for (const [name, content] of Object.entries(files))
        expect(Buffer.from(content).equals(await readFile(join(out, name))), name).toBe(true);
    } finally {
      await session.dispose();
    }
  });

  it('goes on from an adapter, also over a 4-bit base', async () => {
    const next = join(folder, `next-${backend}`);
    const sets = [
      `device=${backend}`,
      `training.output_dir=${next}`,
      `adapter.init_from=${out}`,
      'training.max_steps=2',
      'quantization.load_in_4bit=true',
    ];
    const { status, stderr } = await lowrank('train', config, ...sets.flatMap((set) => ['--set', set]));
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`going on from ${out}`);
    expect(stderr).toMatch(/in 4 bits [\d.]+k/);
    const [first] = (await metrics(out)).flatMap((line) => line['eval_loss'] ?? []);
    // Two steps on top of sixteen, though on a coarser base, are ahead of the first four.
    expect((await metrics(next)).flatMap((line) => line['eval_loss'] ?? [])[0]).toBeLessThan(first as number);
  });
});

describe('the process', () => {
  it('ends by itself after a run, with results on standard output only', async () => {
    const out = join(folder, 'spawned');
    const { status, stdout, stderr } = await spawnLowrank([
      'train',
      config,
      '--set',
      'device=wasm',
      '--set',
      `training.output_dir=${out}`,
      '--set',
      'training.max_steps=2',
    ]);
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: `${out}\n` });
    expect(await readdir(out)).toContain('adapter_model.safetensors');
  });
});
