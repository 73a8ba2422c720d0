import { mkdtemp, readdir, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { countingRows, TINY_CONFIG, toJsonl } from '../support/tiny-model.js';

/** No weights lie there: whatever works without them has not read them. */
const CONFIG = `
model: ./model
device: wasm
data: { train: train.jsonl, max_length: 64 }
training: { output_dir: out, max_steps: 2, per_device_train_batch_size: 4 }
`;

let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-plan-'));
  await mkdir(join(folder, 'model'));
  await writeFile(join(folder, 'model/config.json'), JSON.stringify(TINY_CONFIG));
  await mkdir(join(folder, 'large'));
  const large = {
    ...TINY_CONFIG,
    vocab_size: 32000,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    max_position_embeddings: 2048,
  };
  await writeFile(join(folder, 'large/config.json'), JSON.stringify(large));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(8, 1)));
  config = join(folder, 'run.yaml');
  await writeFile(config, CONFIG);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('lowrank plan', () => {
  it('prints the parts with and without checkpointing, and that it fits', async () => {
    const { status, stdout, stderr } = await lowrank('plan', config);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^memory +without checkpointing +with$/m);
    expect(stdout).toMatch(/^activations kept +[\d.]+ [KM]iB +[\d.]+ KiB$/m);
    expect(stdout).toMatch(/^fits: [\d.]+ [KM]iB into [\d.]+ GiB \(.*\)$/m);
    expect(stderr).toContain('batches of 4 × 64 tokens, lora of rank 8, adamw');
    expect(await readdir(folder)).not.toContain('out');
  });

  it('prints JSON', async () => {
    const { status, stdout } = await lowrank(
      'plan',
      config,
      '--json',
      '--set',
      'training.optim=paged_adamw',
      '--set',
      'quantization.load_in_4bit=true',
    );
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as {
      without_checkpointing: { total: number; host: number; parts: Record<string, number> };
      with_checkpointing: { total: number };
    };
    expect(report).toMatchObject({ device: 'wasm', fits: true, obstacles: [], remedies: [] });
    expect(report.with_checkpointing.total).toBeLessThan(report.without_checkpointing.total);
    expect(report.without_checkpointing.host).toBe(2 * (report.without_checkpointing.parts['adapters'] as number));
    expect(report.without_checkpointing.parts).toMatchObject({ denseWeights: 0, optimizerState: 0 });
  });

  const large = ['--set', 'model=./large', '--set', 'data.max_length=1024'];

  it('refuses what does not fit, with settings that do', async () => {
    const sets = large.map((set) => set.replace('./large', join(folder, 'large')));
    const { status, stdout, stderr } = await lowrank('plan', config, ...sets);
    expect(status).toBe(2);
    expect(stdout).toMatch(/^does not fit: it needs [\d.]+ GiB, and .* is [\d.]+ GiB$/m);
    // Said once, and nothing against it.
    expect(stderr).not.toMatch(/No setting|It would fit/);
    expect(stderr).toContain('this run does not fit');
    const suggested = /^ {2}(--set .*) {2}\(/m.exec(stdout)?.[1]?.split(' ') as string[];
    expect(suggested.length).toBeGreaterThan(1);
    const mended = await lowrank('plan', config, ...sets, ...suggested);
    expect(mended.status, mended.stderr).toBe(0);
  });

  it('is asked by train before anything is loaded', async () => {
    const sets = large.map((set) => set.replace('./large', join(folder, 'large')));
    const { status, stderr } = await lowrank('train', config, ...sets);
    expect(status).toBe(2);
    expect(stderr).toMatch(/this run does not fit: it needs .*\n {2}--set /s);
    // The small one fits, and only then the missing weights are noticed.
    const small = await lowrank('train', config);
    expect(small.status).toBe(3);
    expect(small.stderr).toMatch(/memory: at most [\d.]+ [KM]iB planned, of/);
  });
});
