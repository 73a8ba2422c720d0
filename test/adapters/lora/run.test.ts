import { describe, expect, it } from 'vitest';
import { runConfigSchema, type RunConfigInput } from '../../../src/config/schema.js';
import { nodeHost } from '../../../src/device/node.js';
import { evaluateLoss } from '../../../src/eval/loss.js';
import { finetune } from '../../../src/finetune/finetune.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { localDirectory } from '../../../src/io/node.js';
import { openSession } from '../../../src/session.js';
import { generate } from '../../../src/eval/generate.js';
import { countingRows, modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const rows = (count: number, seed: number): { name: string; rows: unknown[] }[] => [
  { name: 'rows', rows: countingRows(count, seed) },
];
const TESTED = countingRows(8, 3);
const EXAMPLES = TESTED.map(({ input_ids: ids }, i) => ({
  inputIds: Int32Array.from(ids),
  labels: Int32Array.from(ids),
  row: i + 1,
  source: 'memory',
}));

function configOf(
  adapter: RunConfigInput['adapter'],
  rest: Partial<RunConfigInput> = {},
): ReturnType<typeof runConfigSchema.parse> {
  return runConfigSchema.parse({
    model: 'org/tiny',
    device: 'wasm',
    adapter: { r: 4, ...adapter },
    data: { train: 'train.jsonl' },
    ...rest,
    training: {
      output_dir: 'out',
      per_device_train_batch_size: 4,
      learning_rate: 0.02,
      logging_steps: 1,
      max_steps: 12,
      ...rest.training,
    },
  });
}

const NF4 = { load_in_4bit: true };

/**
 * The exact weights that PiSSA over 4 bits trained on are not those of a session with 4 bits: its files are for the
 * float base.
 */
const CASES: readonly {
  name: string;
  adapter: RunConfigInput['adapter'];
  tied?: boolean;
  quantization?: RunConfigInput['quantization'];
}[] = [
  {
    name: 'DoRA over NF4 with dropout and LoRA+',
    adapter: { use_dora: true, lora_dropout: 0.1, loraplus_lr_ratio: 4 },
    quantization: NF4,
  },
  {
    name: 'embedding and output layer',
    adapter: { target_modules: ['q_proj', 'embed_tokens', 'lm_head'], lora_dropout: 0.1 },
    tied: true,
  },
  {
    name: 'modules_to_save over NF4',
    adapter: { target_modules: ['v_proj'], modules_to_save: ['lm_head', 'norm'] },
    quantization: NF4,
  },
  { name: 'PiSSA', adapter: { init_lora_weights: 'pissa' } },
  {
    name: 'LoftQ over NF4',
    adapter: { init_lora_weights: 'loftq', loftq_config: { loftq_iter: 2 } },
    quantization: NF4,
  },
  { name: 'trained tokens', adapter: { trainable_token_indices: [1, 2, 3, 4, 5, 6] }, tied: true },
];

describe('a run', () => {
  it.each(CASES)(
    'learns with $name, with checkpointing, and its files give the same model',
    async ({ adapter, tied = false, quantization }) => {
      const model = memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, tie_word_embeddings: tied }));
      const config = configOf(adapter, {
        ...(quantization === undefined ? {} : { quantization }),
        training: { output_dir: 'out', gradient_checkpointing: true, max_steps: 12 },
      });
      const losses: number[] = [];
      const notes: string[] = [];
      const { files, test } = await finetune({
        config,
        model,
        data: { train: rows(32, 1), test: [{ name: 'tested', rows: TESTED }] },
        host: nodeHost,
        callbacks: { onStep: ({ loss }) => losses.push(loss), onNote: (note) => notes.push(note) },
      });
      expect(notes.filter((note) => note.includes('memory was not planned'))).toEqual([]);
      expect((losses.at(-1) as number) / (losses[0] as number)).toBeLessThan(0.9);
      const session = await openSession({
        model,
        adapter: memoryDirectory('trained', files),
        device: 'wasm',
        host: nodeHost,
        quantization: quantization === undefined ? undefined : { quantType: 'nf4' },
      });
      const { loss } = await evaluateLoss(session.decoder, EXAMPLES, 4);
      expect(Math.abs(loss - (test?.loss as number))).toBeLessThan(1e-5);
      await session.dispose();
    },
  );

  it.each([
    { name: 'PiSSA over NF4', adapter: { init_lora_weights: 'pissa_niter_2', use_dora: true } as const },
    { name: 'LoftQ over NF4', adapter: { init_lora_weights: 'loftq' } as const },
  ])('with $name that was interrupted ends as one that was not', async ({ adapter }) => {
    const model = memoryDirectory('tiny', modelFiles(TINY_CONFIG));
    const config = configOf(adapter, {
      quantization: NF4,
      training: { output_dir: 'out', max_steps: 4, save_strategy: 'steps', save_steps: 2 },
    });
    const checkpoints = new Map<number, Readonly<Record<string, Uint8Array | string>>>();
    const request = { config, model, data: { train: rows(32, 1) }, host: nodeHost };
    const whole = await finetune({
      ...request,
      callbacks: { onCheckpoint: (files, { step }) => void checkpoints.set(step, files) },
    });
    const resume = memoryDirectory('checkpoint', checkpoints.get(2) as Record<string, Uint8Array>);
    const resumed = await finetune({ ...request, resume, callbacks: { onCheckpoint: () => undefined } });
    expect(resumed.files['adapter_model.safetensors']).toEqual(whole.files['adapter_model.safetensors']);
    expect(resumed.files['adapter_config.json']).toEqual(whole.files['adapter_config.json']);
  });

  it('teaches tokens that the model did not have', async () => {
    const model = localDirectory('configs/quickstart/base');
    const texts = Array.from({ length: 12 }, (_, i) => ({
      prompt: `${['red', 'blue', 'green'][i % 3]}<is>`,
      completion: `a colour<end>`,
    }));
    const config = configOf(
      { target_modules: ['q_proj', 'v_proj'], added_tokens: ['<is>', '<end>'] },
      {
        quantization: NF4,
        training: { output_dir: 'out', max_steps: 25, per_device_train_batch_size: 12, learning_rate: 0.02 },
      },
    );
    const losses: number[] = [];
    const { files } = await finetune({
      config,
      model,
      data: { train: [{ name: 'rows', rows: texts }] },
      host: nodeHost,
      callbacks: { onStep: ({ loss }) => losses.push(loss) },
    });
    expect((losses.at(-1) as number) / (losses[0] as number)).toBeLessThan(0.3);
    const session = await openSession({
      model,
      adapter: memoryDirectory('trained', files),
      device: 'wasm',
      host: nodeHost,
      quantization: { quantType: 'nf4' },
    });
    const { decoder, tokenizer } = session;
    const end = tokenizer?.tokenToId('<end>') as number;
    expect(decoder.vocabSize).toBe(decoder.config.vocabSize + 2);
    expect(end).toBeGreaterThanOrEqual(decoder.config.vocabSize);
    const [answer] = await generate(decoder, [tokenizer?.encode('blue<is>') as number[]], {
      maxNewTokens: 8,
      stopTokens: [end],
    });
    expect(tokenizer?.decode(answer?.tokens as number[])).toContain('colour');
    expect(answer?.reason).toBe('stop');
    await session.dispose();
  });
});
