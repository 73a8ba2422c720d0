import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import type { Adapter } from '../../../src/adapters/adapter.js';
import { hostValues } from '../../../src/adapters/lora/base-values.js';
import type { LoraOptions } from '../../../src/adapters/lora/options.js';
import { adapterFiles, loadAdapter } from '../../../src/adapters/peft/files.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel, type LoadQuantization } from '../../../src/model/load.js';
import { batchLossSum, type LabelledBatch } from '../../../src/model/loss.js';
import { Random } from '../../../src/random.js';
import { lossAndGradients } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../../support/numeric.js';
import { modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const PLAIN: LoraOptions = {
  r: 3,
  lora_alpha: 5,
  lora_dropout: 0,
  target_modules: ['q_proj', 'down_proj'],
  use_rslora: false,
  init_lora_weights: true,
};
const NF4: LoadQuantization = { quantType: 'nf4' };

/** Widths of 64: the blocks of 4-bit weights keep to rows. */
const model = (tied: boolean) =>
  memoryDirectory(
    'tiny',
    modelFiles({ ...TINY_CONFIG, hidden_size: 64, intermediate_size: 96, tie_word_embeddings: tied }),
  );

const IDS = Int32Array.from([1, 5, 9, 31, 2, 7, 5, 30, 4, 4, 18, 0]);
const BATCH: LabelledBatch = { inputIds: IDS, labels: IDS, batch: 2, seq: 6 };

async function logitsOf(decoder: Decoder, ids = IDS): Promise<Float32Array> {
  const logits = tf.tidy(() => decoder.logits(decoder.hidden({ ids: tf.tensor1d(ids, 'int32'), batch: 2, length: 6 })));
  const values = (await logits.data<'float32'>()).slice();
  logits.dispose();
  return values;
}

/** Moves every parameter away from where it starts. */
function disturb(adapter: Adapter, by = 0.05): void {
  const random = new Random(3, 'disturb');
  for (const { variable } of adapter.parameters) {
    tf.tidy(() => variable.assign(tf.add(variable, tf.tensor(normals(random, variable.size, by), variable.shape))));
  }
}

/**
 * DoRA's gradient takes ‖W + s·B·A‖ for a constant, which a difference does not: the magnitudes are moved with the
 * norms, so that m over the norm stays what it is. Returns the function that does so for the values that A and B have
 * then.
 */
async function normHolder(decoder: Decoder, adapter: Adapter, key: string): Promise<() => Promise<void>> {
  const name = key.replace(/^base_model\.model\.|\.lora_.*$/g, '');
  const of = (part: string): tf.Variable =>
    (
      adapter.parameters.find(
        (p) => p.key.startsWith(`base_model.model.${name}.lora_`) && p.key.includes(part),
      ) as Adapter['parameters'][number]
    ).variable;
  const [a, b, m] = [of('_A'), of('_B'), of('magnitude')];
  const isTable = key.includes('embedding');
  const { embedding: table, head, linears } = decoder.weights;
  const frozen =
    linears.get(name)?.weight ??
    (name === 'lm_head' && head !== undefined ? head : { kind: 'dense' as const, shape: table.shape, values: table });
  const weight = await hostValues(frozen);
  const [rank] = a.shape as [number];
  const scale = 5 / 3;
  const norms = async (): Promise<Float64Array> => {
    const [av, bv] = [await a.data(), await b.data()];
    const [out, inner] = [b.shape[0] as number, a.shape[1] as number];
    return Float64Array.from({ length: out }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < inner; j++) {
        let value = weight[isTable ? j * out + i : i * inner + j] as number;
        for (let c = 0; c < rank; c++) value += scale * (bv[i * rank + c] as number) * (av[c * inner + j] as number);
        sum += value * value;
      }
      return Math.sqrt(sum);
    });
  };
  const before = await norms();
  const start = (await m.data<'float32'>()).slice();
  return async () => {
    const now = await norms();
    tf.tidy(() => m.assign(tf.tensor1d(start.map((value, i) => (value * (now[i] as number)) / (before[i] as number)))));
  };
}

const CASES: readonly {
  name: string;
  options: Partial<LoraOptions>;
  tied?: boolean;
  quantization?: LoadQuantization;
  unchanged?: boolean;
}[] = [
  { name: 'DoRA', options: { use_dora: true } },
  { name: 'DoRA over NF4', options: { use_dora: true }, quantization: NF4 },
  { name: 'an embedding and an output layer', options: { target_modules: ['v_proj', 'embed_tokens', 'lm_head'] } },
  {
    name: 'a tied embedding and output layer, DoRA',
    options: { target_modules: ['embed_tokens', 'lm_head'], use_dora: true },
    tied: true,
  },
  { name: 'modules_to_save', options: { modules_to_save: ['lm_head', 'embed_tokens', 'norm'] } },
  {
    name: 'modules_to_save of a tied model and a linear layer',
    options: { target_modules: ['q_proj'], modules_to_save: ['lm_head', '1.mlp.up_proj'] },
    tied: true,
  },
  { name: 'trained and new tokens of a tied model', options: { trainable_token_indices: [5, 32, 9, 33] }, tied: true },
  {
    name: 'trained and new tokens',
    options: { trainable_token_indices: { embed_tokens: [9, 32], lm_head: [32, 2, 4] } },
  },
  { name: 'trained tokens of the embedding alone', options: { trainable_token_indices: [9, 4] }, quantization: NF4 },
  { name: 'PiSSA', options: { init_lora_weights: 'pissa' } },
  { name: 'PiSSA over NF4', options: { init_lora_weights: 'pissa_niter_2' }, quantization: NF4, unchanged: false },
  {
    name: 'rank stabilisation and DoRA of a tied head',
    options: { use_dora: true, target_modules: ['lm_head'] },
    tied: true,
  },
  {
    name: 'LoftQ',
    options: { init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4, loftq_iter: 2 } },
    quantization: NF4,
    unchanged: false,
  },
  {
    name: 'patterns',
    options: {
      target_modules: 'all-linear',
      rank_pattern: { q_proj: 2, 'layers.1.mlp.up_proj': 5 },
      alpha_pattern: { v_proj: 9 },
      exclude_modules: ['o_proj'],
      layers_to_transform: [1],
    },
  },
];

describeBackends('LoRA of every kind', ['wasm', 'webgpu'], () => {
  it.each(CASES)(
    '$name: starts as the base, has the gradients of its loss, and comes back from its files',
    async ({ options, tied = false, quantization, unchanged = true }) => {
      await expectNoLeak(async () => {
        const decoder = await loadModel(model(tied), { quantization });
        const base = await logitsOf(decoder);
        const vocab = decoder.config.vocabSize;
        const adapter = METHODS.lora.create(decoder, { ...PLAIN, ...options }, 7);
        await adapter.initialize();
        const columns = base.length / 12;
        const grown = (await logitsOf(decoder)).length / 12;
        const started = (await logitsOf(decoder)).filter((_, i) => i % grown < columns);
        if (unchanged) expectClose(started, base, 2e-5, 'at the start');
        disturb(adapter);
        const moved = await logitsOf(decoder);
        expect(
          Math.max(
            ...moved.filter((_, i) => i % grown < vocab).map((value, i) => Math.abs(value - (base[i] as number))),
          ),
        ).toBeGreaterThan(1e-3);

        const { loss, gradients } = lossAndGradients(
          decoder,
          adapter.parameters.map((p) => p.variable),
          [{ ...BATCH, supervisedCount: 10 }],
        );
        const random = new Random(5, 'coordinates');
        for (const [i, { key, variable }] of adapter.parameters.entries()) {
          const gradient = await (gradients[i] as tf.Tensor).data<'float32'>();
          const start = (await variable.data<'float32'>()).slice();
          const largest = gradient.reduce(
            (best, value, at) => (Math.abs(value) > Math.abs(gradient[best] as number) ? at : best),
            0,
          );
          const coordinates = [largest, random.below(start.length)];
          const heldNorms =
            options.use_dora === true && !key.endsWith('magnitude_vector')
              ? await normHolder(decoder, adapter, key)
              : undefined;
          // Where the embedding is small, the norm behind it bends the loss within a short way.
          const step = key.includes('embed') ? 1e-3 : 1e-2;
          const numeric = await centralDifferences(
            async (x) => {
              tf.tidy(() => variable.assign(tf.tensor(x, variable.shape)));
              await heldNorms?.();
              const sum = batchLossSum(decoder, BATCH, { training: false });
              const [value] = await sum.data();
              sum.dispose();
              return (value as number) / 10;
            },
            start,
            coordinates,
            step,
          );
          tf.tidy(() => variable.assign(tf.tensor(start, variable.shape)));
          await heldNorms?.();
          expectClose(
            coordinates.map((at) => gradient[at] as number),
            numeric,
            2e-3,
            key,
          );
        }
        tf.dispose([loss, gradients]);

        const files = memoryDirectory('saved', await adapterFiles(adapter));
        const trained = await logitsOf(decoder);
        adapter.dispose();
        expect(await logitsOf(decoder)).toEqual(base);
        const again = await loadAdapter(decoder, files);
        // PiSSA is saved for the base as it was, which in 4 bits is not what it trained on.
        if (!(String(options.init_lora_weights).startsWith('pissa') && quantization !== undefined))
          expectClose(await logitsOf(decoder), trained, 2e-5, 'from its files');
        again.dispose();
        expect(await logitsOf(decoder)).toEqual(base);
        decoder.dispose();
      });
    },
  );
});
