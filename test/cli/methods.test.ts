import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { describeBackends } from '../support/backends.js';
import { lowrank } from '../support/cli.js';
import { readTensors } from '../support/goldens.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

const CONFIG = `
model: ./model
data: { train: train.jsonl, validation: validation.jsonl, test: test.jsonl, max_length: 64 }
training: { output_dir: out, max_steps: 8, per_device_train_batch_size: 8, learning_rate: 0.02, logging_steps: 4, eval_steps: 4 }
`;

let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-methods-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(32, 1)));
  await writeFile(join(folder, 'validation.jsonl'), toJsonl(countingRows(8, 2)));
  await writeFile(join(folder, 'test.jsonl'), toJsonl(countingRows(8, 3)));
  config = join(folder, 'run.yaml');
  await writeFile(config, CONFIG);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const asSets = (sets: readonly string[]): string[] => sets.flatMap((set) => ['--set', set]);

/** Linear weights and norms of a layer of the tiny model. */
const LAYER = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 48 + 2 * 32;
const METHODS = [
  {
    method: 'prompt_tuning',
    sets: ['adapter.num_virtual_tokens=6', 'adapter.prompt_tuning_init=SAMPLE_VOCAB', 'training.learning_rate=0.1'],
    type: 'PROMPT_TUNING',
    trainable: 6 * 32,
    plan: 'prompt_tuning of 6 virtual tokens',
    quantized: true,
  },
  {
    method: 'bottleneck',
    sets: ['adapter.bottleneck_size=4'],
    type: 'BOTTLENECK',
    trainable: 4 * (2 * 4 * 32 + 4 + 32),
    plan: 'bottleneck of width 4 (houlsby)',
    quantized: true,
  },
  {
    method: 'layers',
    sets: ['adapter.train_head=true'],
    type: 'LAYERS',
    trainable: LAYER + 32 * 32,
    plan: 'layers of the last layer, the head',
    quantized: true,
  },
  {
    method: 'full',
    sets: ['training.weight_decay=0.01'],
    type: undefined,
    trainable: 2 * LAYER + 2 * 32 * 32 + 32,
    plan: 'full of every weight',
    quantized: false,
  },
] as const;

interface Evaluated {
  readonly eval_loss?: number;
}

describeBackends('lowrank train', ['wasm', 'webgpu'], (backend) => {
  describe.each(METHODS)('with method $method', ({ method, sets, type, trainable, plan, quantized }) => {
    const outOf = (name: string): string => join(folder, `${method}-${name}-${backend}`);
    const best = async (out: string): Promise<number> => {
      const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
      return Math.min(...lines.flatMap((line) => (JSON.parse(line) as Evaluated).eval_loss ?? []));
    };
    const train = (out: string, more: readonly string[] = []): ReturnType<typeof lowrank> =>
      lowrank(
        'train',
        config,
        ...asSets([`device=${backend}`, `adapter.method=${method}`, ...sets, `training.output_dir=${out}`, ...more]),
      );
    /** As the commands take a base with what was trained on it. */
    const trained = (out: string): string[] =>
      type === undefined ? ['--model', out] : ['--model', join(folder, 'model'), '--adapter', out];

    it('plans, trains, saves, evaluates as in training, generates, and fits', async () => {
      const out = outOf('float');
      const planned = await lowrank(
        'plan',
        config,
        ...asSets([`device=${backend}`, `adapter.method=${method}`, ...sets]),
      );
      expect(planned.status, planned.stderr).toBe(0);
      expect(planned.stderr).toContain(`batches of 8 × ${method === 'prompt_tuning' ? 58 : 64} tokens, ${plan}, adamw`);
      const { status, stderr } = await train(out);
      expect(status, stderr).toBe(0);
      expect(stderr).not.toContain('memory was not planned');
      expect(stderr).toContain(
        `parameters: trainable ${trainable < 1000 ? trainable : `${(trainable / 1000).toPrecision(3)}k`} (`,
      );
      const files = await readdir(out);
      expect(files).toEqual(
        expect.arrayContaining(
          type === undefined
            ? ['config.json', 'model.safetensors']
            : ['adapter_config.json', 'adapter_model.safetensors'],
        ),
      );
      if (type !== undefined)
        expect(JSON.parse(await readFile(join(out, 'adapter_config.json'), 'utf8'))).toMatchObject({ peft_type: type });
      // What is written reads back as the same settings.
      const text = await readFile(join(out, 'config.yaml'), 'utf8');
      expect(loadConfig(text, 'config.yaml').adapter).toMatchObject({ method });
      expect(text).not.toContain('lora_alpha');

      const device = ['--device', backend];
      const evaluated = await lowrank(
        'eval',
        ...trained(out),
        ...device,
        '--data',
        join(folder, 'validation.jsonl'),
        '--json',
      );
      expect(evaluated.status, evaluated.stderr).toBe(0);
      const { loss } = JSON.parse(evaluated.stdout) as { loss: number };
      expect(Math.abs(loss - (await best(out)))).toBeLessThan(1e-5);
      const base = await lowrank(
        'eval',
        '--model',
        join(folder, 'model'),
        ...device,
        '--data',
        join(folder, 'validation.jsonl'),
        '--json',
      );
      expect(loss).toBeLessThan((JSON.parse(base.stdout) as { loss: number }).loss);

      const generated = await lowrank(
        'generate',
        ...trained(out),
        ...device,
        '--prompt-tokens',
        '5,6,7',
        '--max-new-tokens',
        '6',
        '--json',
      );
      expect(JSON.parse(generated.stdout)).toMatchObject({ prompt_tokens: 3 });
      const inspected = await lowrank(
        'inspect',
        out,
        ...(type === undefined ? [] : ['--model', join(folder, 'model')]),
      );
      expect({ status: inspected.status, stderr: inspected.stderr }).toEqual({ status: 0, stderr: '' });
      if (type !== undefined) expect(inspected.stdout).toContain(`fits ${join(folder, 'model')}`);
    });

    it(quantized ? 'trains over a base in 4 bits, and goes on from there' : 'refuses a base in 4 bits', async () => {
      const out = outOf('quantized');
      const four = 'quantization.load_in_4bit=true';
      const { status, stderr } = await train(out, [four, 'training.gradient_checkpointing=true']);
      if (!quantized) {
        expect(status).toBe(2);
        expect(stderr).toContain(
          'adapter.method full contradicts quantization.load_in_4bit: a weight held in 4 bits takes no gradient',
        );
        return;
      }
      expect(status, stderr).toBe(0);
      expect(stderr).toMatch(/in 4 bits [\d.]+k/);
      const evaluated = await lowrank(
        'eval',
        ...trained(out),
        '--device',
        backend,
        '--quantize',
        'nf4',
        '--data',
        join(folder, 'validation.jsonl'),
        '--json',
      );
      expect(Math.abs((JSON.parse(evaluated.stdout) as { loss: number }).loss - (await best(out)))).toBeLessThan(1e-5);
      // Each run compiles its shaders anew, which takes long where a GPU is emulated.
      if (backend !== 'wasm') return;
      const next = await train(outOf('next'), [four, `adapter.init_from=${out}`, 'training.max_steps=4']);
      expect(next.status, next.stderr).toBe(0);
      expect(next.stderr).toMatch(/^going on from .*, as that adapter has it$/m);
      expect(await best(outOf('next'))).toBeLessThan(await best(out));
    });

    // The state is the host's: one device is enough.
    if (backend !== 'wasm') return;
    it('goes on from a checkpoint to the same result', async () => {
      const [whole, part] = [outOf('whole'), outOf('part')];
      const four = ['training.max_steps=4', 'training.save_strategy=steps', 'training.save_steps=2'];
      expect((await train(whole, four)).status).toBe(0);
      expect((await train(part, four)).status).toBe(0);
      await rm(join(part, 'checkpoint-4'), { recursive: true });
      const resumed = await train(part, [...four, 'training.resume_from_checkpoint=true']);
      expect(resumed.status, resumed.stderr).toBe(0);
      expect(resumed.stderr).toContain('checkpoint-2');
      const file = type === undefined ? 'model.safetensors' : 'adapter_model.safetensors';
      expect(Buffer.compare(await readFile(join(part, file)), await readFile(join(whole, file)))).toBe(0);
    });
  });
});

describe('a prompt that starts from a text', () => {
  it('has the embedded tokens of it, with the tokenizer named as PEFT wants it', async () => {
    const base = resolve('configs/quickstart/base');
    const out = join(folder, 'text');
    // The first step of a warm-up changes nothing.
    const sets = [
      ...[
        `model=${base}`,
        `data.train=${resolve('configs/quickstart/train.jsonl')}`,
        'data.validation=',
        'data.test=',
        'device=wasm',
        `training.output_dir=${out}`,
      ],
      ...[
        'training.max_steps=1',
        'training.warmup_steps=1',
        'training.eval_steps=',
        'training.per_device_train_batch_size=1',
      ],
      ...[
        'adapter.method=prompt_tuning',
        'adapter.num_virtual_tokens=4',
        'adapter.prompt_tuning_init=TEXT',
        'adapter.prompt_tuning_init_text=Once upon a time there was a dog',
      ],
    ];
    const { status, stderr } = await lowrank('train', config, ...asSets(sets));
    expect(status, stderr).toBe(0);
    expect(JSON.parse(await readFile(join(out, 'adapter_config.json'), 'utf8'))).toMatchObject({
      prompt_tuning_init: 'TEXT',
      tokenizer_name_or_path: base,
    });
    const tokenizer = (await loadTokenizer(localDirectory(base))) as Tokenizer;
    const tokens = tokenizer.encode('Once upon a time there was a dog').slice(0, 4);
    const table = (await readTensors(join(base, 'model.safetensors'))).get('model.embed_tokens.weight') as {
      shape: readonly number[];
      values: Float32Array;
    };
    const width = table.shape[1] as number;
    const saved = (await readTensors(join(out, 'adapter_model.safetensors'))).get('prompt_embeddings');
    expect(saved?.shape).toEqual([4, width]);
    expect([...(saved?.values ?? [])]).toEqual(
      tokens.flatMap((token) => [...table.values.slice(token * width, (token + 1) * width)]),
    );
  });
});

describe('lowrank export', () => {
  it('merges trained layers, and says why the others cannot be merged or exported', async () => {
    const trainedBy = async (method: string): Promise<string> => {
      const out = join(folder, `export-${method}`);
      const { status, stderr } = await lowrank(
        'train',
        config,
        ...asSets(['device=wasm', `adapter.method=${method}`, `training.output_dir=${out}`, 'training.max_steps=2']),
      );
      expect(status, stderr).toBe(0);
      return out;
    };
    const merged = async (adapter: string): ReturnType<typeof lowrank> =>
      lowrank('export', adapter, '--format', 'merged', '-o', `${adapter}-merged`);
    const layers = await trainedBy('layers');
    const { status, stderr } = await merged(layers);
    expect(status, stderr).toBe(0);
    const lossOf = async (...model: string[]): Promise<number> => {
      const { stdout } = await lowrank(
        'eval',
        ...model,
        '--device',
        'wasm',
        '--data',
        join(folder, 'test.jsonl'),
        '--json',
      );
      return (JSON.parse(stdout) as { loss: number }).loss;
    };
    expect(await lossOf('--model', `${layers}-merged`)).toBe(
      await lossOf('--model', join(folder, 'model'), '--adapter', layers),
    );
    const reasons = [
      [
        await trainedBy('bottleneck'),
        'an adapter of method bottleneck cannot be merged: its networks have a non-linearity between their projections',
      ],
      [
        await trainedBy('prompt_tuning'),
        'an adapter of method prompt_tuning cannot be merged: its vectors stand among the tokens of a text',
      ],
    ] as const;
    for (const [adapter, reason] of reasons) {
      const refused = await merged(adapter);
      expect(refused.status).toBe(3);
      expect(refused.stderr).toContain(reason);
    }
    for (const format of ['gguf', 'mlx']) {
      const refused = await lowrank('export', layers, '--format', format, '-o', join(folder, 'never'));
      expect(refused.status).toBe(3);
      expect(refused.stderr).toContain(
        'an adapter of method layers cannot be exported: whole weights are no low-rank update',
      );
    }
  });
});

describe('options of another method', () => {
  it('are all refused, with the method that they belong to', async () => {
    const wrong = [
      'adapter.method=prompt_tuning',
      'adapter.r=4',
      'adapter.lora_alpha=8',
      'adapter.placement=pfeiffer',
      'adapter.train_head=true',
      'adapter.save_dtype=float16',
      'data.packing=true',
    ];
    const { status, stderr } = await lowrank('train', config, ...asSets(wrong));
    expect(status).toBe(2);
    for (const line of [
      'adapter.r belongs to method lora, not prompt_tuning',
      'adapter.lora_alpha belongs to method lora, not prompt_tuning',
      'adapter.placement belongs to method bottleneck, not prompt_tuning',
      'adapter.train_head belongs to method layers, not prompt_tuning',
      'adapter.save_dtype belongs to method full, not prompt_tuning',
      'adapter.method prompt_tuning contradicts data.packing',
    ]) {
      expect(stderr).toContain(line);
    }
    expect(stderr).toMatch(/^lowrank: 6 problems in the config/);
  });

  it.each([
    [['adapter.num_virtual_tokens=4'], 'adapter.num_virtual_tokens belongs to method prompt_tuning, not lora'],
    [
      ['adapter.method=prompt_tuning', 'adapter.prompt_tuning_init=TEXT'],
      'adapter.prompt_tuning_init_text is required with prompt_tuning_init TEXT',
    ],
    [
      ['adapter.method=prompt_tuning', 'adapter.prompt_tuning_init_text=Hello'],
      'adapter.prompt_tuning_init_text needs prompt_tuning_init TEXT',
    ],
    [
      ['adapter.method=bottleneck', 'adapter.bottleneck_size=4', 'adapter.reduction_factor=2'],
      'adapter.reduction_factor contradicts adapter.bottleneck_size',
    ],
    [
      ['adapter.method=layers', 'adapter.num_trainable_layers=0'],
      'adapter.num_trainable_layers leaves nothing to train',
    ],
    [
      ['adapter.method=layers', 'adapter.num_trainable_layers=3', 'device=wasm'],
      'adapter.num_trainable_layers: 3 is more than the 2 layers of the model',
    ],
    [
      ['adapter.method=prompt_tuning', 'adapter.num_virtual_tokens=64', 'device=wasm'],
      "64 leave no room for text in the model's context of 64",
    ],
    [
      [
        'adapter.method=prompt_tuning',
        'adapter.prompt_tuning_init=TEXT',
        'adapter.prompt_tuning_init_text=Hello',
        'device=wasm',
      ],
      'TEXT needs a model with a tokenizer',
    ],
  ])('%j: %s', async (sets, message) => {
    const { status, stderr } = await lowrank(
      'train',
      config,
      ...asSets([...sets, `training.output_dir=${join(folder, 'never')}`]),
    );
    expect(status, stderr).toBe(2);
    expect(stderr).toContain(message);
    expect(await readdir(folder)).not.toContain('never');
  });

  it('an adapter of another method is not gone on from', async () => {
    const out = join(folder, 'other');
    const train = (...sets: string[]): ReturnType<typeof lowrank> =>
      lowrank('train', config, ...asSets(['device=wasm', 'training.max_steps=1', ...sets]));
    expect((await train(`training.output_dir=${out}`, 'adapter.method=bottleneck')).status).toBe(0);
    const { status, stderr } = await train(`training.output_dir=${join(folder, 'never')}`, `adapter.init_from=${out}`);
    expect(status).toBe(2);
    expect(stderr).toContain(
      'adapter.init_from: that adapter is one of method bottleneck: --set adapter.method=bottleneck',
    );
  });
});
