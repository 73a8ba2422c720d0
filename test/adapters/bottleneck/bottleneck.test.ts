import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Adapter } from '../../../src/adapters/adapter.js';
import type { BottleneckOptions } from '../../../src/adapters/bottleneck/options.js';
import { adapterFiles, loadAdapter, readAdapter } from '../../../src/adapters/peft/files.js';
import { definitionOf, METHODS, parseAdapterConfig } from '../../../src/adapters/registry.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { parseModelConfig } from '../../../src/model/config.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { batchLossSum } from '../../../src/model/loss.js';
import { Random } from '../../../src/random.js';
import type { MicroBatch } from '../../../src/train/objectives/objective.js';
import { lossAndGradients } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../../support/numeric.js';
import { countingRows, modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const OPTIONS: BottleneckOptions = { placement: 'houlsby', bottleneck_size: 6, non_linearity: 'gelu' };
/** Of the parallel kind: attention and feed-forward read the same input. */
const NEOX = {
  ...{
    model_type: 'gpt_neox',
    vocab_size: 32,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  },
  ...{ max_position_embeddings: 64, rotary_pct: 0.5, use_parallel_residual: true, bos_token_id: 1, eos_token_id: 2 },
};
const ROWS = countingRows(2, 5).map((row) => row.input_ids);
const IDS = Int32Array.from(ROWS.flat());
const BATCH: MicroBatch = {
  inputIds: IDS,
  labels: IDS,
  batch: 2,
  seq: IDS.length / 2,
  supervisedCount: IDS.length - 2,
};

type Quantization = { quantType: 'nf4' } | undefined;

async function withDecoder(
  quantization: Quantization,
  body: (decoder: Decoder) => Promise<void>,
  config: Readonly<Record<string, unknown>> = TINY_CONFIG,
): Promise<void> {
  await expectNoLeak(async () => {
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles(config)), { quantization });
    try {
      await body(decoder);
    } finally {
      decoder.dispose();
    }
  });
}

async function made(decoder: Decoder, options: Partial<BottleneckOptions> = {}): Promise<Adapter> {
  const adapter: Adapter = METHODS.bottleneck.create(decoder, { ...OPTIONS, ...options }, 1);
  await adapter.initialize?.();
  return adapter;
}

async function lossOf(decoder: Decoder): Promise<number> {
  const sum = batchLossSum(decoder, BATCH, { training: false });
  const [value] = await sum.data();
  sum.dispose();
  return value as number;
}

function assign(variable: tf.Variable, values: Float32Array): void {
  tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
}

/** As after some training: nothing is zero. */
function shake({ parameters }: Adapter): void {
  const random = new Random(3, 'shake');
  for (const { variable } of parameters) assign(variable, normals(random, variable.size, 0.3));
}

describe('the config of bottleneck adapters', () => {
  it('is read and written, and wrong fields are named', () => {
    const config = parseAdapterConfig({
      peft_type: 'BOTTLENECK',
      bottleneck_size: 4,
      placement: 'pfeiffer',
      non_linearity: 'relu',
    });
    const definition = definitionOf('bottleneck');
    expect(parseAdapterConfig(JSON.parse(definition.serializeConfig(config)))).toEqual(config);
    expect(() =>
      parseAdapterConfig({ peft_type: 'BOTTLENECK', bottleneck_size: 0, placement: 'between' }, 'a.json'),
    ).toThrow(/a\.json: bottleneck_size: .*placement: .*non_linearity: /);
    expect(() => parseAdapterConfig({ peft_type: 'IA3' }, 'a.json')).toThrow(
      'a.json: peft_type: "IA3" is not supported, allowed LORA, PROMPT_TUNING, BOTTLENECK',
    );
    expect(definition.notMergeable).toMatch(/non-linearity/);
  });
});

describeBackends('bottleneck adapters', ['wasm', 'webgpu'], () => {
  it.each([
    { quantization: undefined, config: TINY_CONFIG },
    { quantization: { quantType: 'nf4' as const }, config: TINY_CONFIG },
    { quantization: undefined, config: NEOX },
  ])(
    'change nothing at first, and are gone without a trace ($config.model_type, $quantization)',
    async ({ quantization, config }) => {
      await withDecoder(
        quantization,
        async (decoder) => {
          const base = await lossOf(decoder);
          const adapter = await made(decoder);
          expect(await lossOf(decoder)).toBe(base);
          shake(adapter);
          const changed = await lossOf(decoder);
          expect(Math.abs(changed - base)).toBeGreaterThan(0.1);
          adapter.detach();
          expect(await lossOf(decoder)).toBe(base);
          adapter.attach();
          expect(await lossOf(decoder)).toBe(changed);
          adapter.dispose();
          expect(await lossOf(decoder)).toBe(base);
        },
        config,
      );
    },
  );

  it.each([
    { quantization: undefined, non_linearity: 'gelu' as const },
    { quantization: undefined, non_linearity: 'silu' as const },
    { quantization: { quantType: 'nf4' as const }, non_linearity: 'gelu_tanh' as const },
  ])(
    'have the gradients of finite differences ($non_linearity, $quantization)',
    async ({ quantization, non_linearity }) => {
      await withDecoder(quantization, async (decoder) => {
        const adapter = await made(decoder, { non_linearity });
        shake(adapter);
        const variables = adapter.parameters.map((p) => p.variable);
        const { loss, gradients } = lossAndGradients(decoder, variables, [BATCH]);
        for (const [i, { key, variable }] of adapter.parameters.entries()) {
          const gradient = await (gradients[i] as tf.Tensor).data<'float32'>();
          const values = (await variable.data<'float32'>()).slice();
          const at = [gradient.indexOf(Math.max(...gradient)), Math.floor(variable.size / 2)];
          const differences = await centralDifferences(
            async (x) => {
              assign(variable, x);
              return lossOf(decoder);
            },
            values,
            at,
            0.02,
          );
          assign(variable, values);
          // Rounding of a sum of about 80 by 1e-7 over the step of 0.04, and the third derivative.
          expectClose(
            at.map((j) => (gradient[j] as number) * BATCH.supervisedCount),
            differences,
            5e-3,
            key,
          );
          expect(Math.max(...differences.map(Math.abs)), key).toBeGreaterThan(0.05);
        }
        const again = lossAndGradients(decoder, variables, [BATCH], () => ({
          gradientCheckpointing: adapter.layerParameters,
        }));
        for (const [i, { key }] of adapter.parameters.entries())
          expectClose(
            await (again.gradients[i] as tf.Tensor).data(),
            await (gradients[i] as tf.Tensor).data(),
            1e-6,
            key,
          );
        tf.dispose([loss, gradients, again.loss, again.gradients]);
        adapter.dispose();
      });
    },
  );

  it('stand behind both sublayers or the feed-forward, as wide as asked for', async () => {
    await withDecoder(undefined, async (decoder) => {
      const keys = async (options: Partial<BottleneckOptions>): Promise<string[]> => {
        const adapter = await made(decoder, options);
        const named = adapter.parameters.map(({ key, variable }) => `${key} [${variable.shape.join(', ')}]`);
        expect(adapter.layerParameters.map((layer) => layer.length)).toEqual([named.length / 2, named.length / 2]);
        adapter.dispose();
        return named;
      };
      expect((await keys({})).slice(0, 5)).toEqual([
        'base_model.model.model.layers.0.self_attn.adapter_down.weight [6, 32]',
        'base_model.model.model.layers.0.self_attn.adapter_down.bias [6]',
        'base_model.model.model.layers.0.self_attn.adapter_up.weight [32, 6]',
        'base_model.model.model.layers.0.self_attn.adapter_up.bias [32]',
        'base_model.model.model.layers.0.mlp.adapter_down.weight [6, 32]',
      ]);
      const { bottleneck_size: _size, ...relative } = OPTIONS;
      const pfeiffer = METHODS.bottleneck.create(decoder, { ...relative, placement: 'pfeiffer' }, 1);
      expect(pfeiffer.parameters.map(({ variable }) => variable.shape)).toEqual([
        [2, 32],
        [2],
        [32, 2],
        [32],
        [2, 32],
        [2],
        [32, 2],
        [32],
      ]);
      expect(() => METHODS.bottleneck.create(decoder, OPTIONS, 1)).toThrow(
        'model.layers.0.mlp already carries an adapter',
      );
      pfeiffer.dispose();
      expect(() => METHODS.bottleneck.create(decoder, { ...OPTIONS, bottleneck_size: 33 }, 1)).toThrow(
        "33 is more than the model's hidden size of 32",
      );
    });
  });

  it('are the same to the byte when they are saved again, and refuse another model', async () => {
    await withDecoder({ quantType: 'nf4' }, async (decoder) => {
      const adapter = await made(decoder, { placement: 'pfeiffer', non_linearity: 'relu' });
      shake(adapter);
      const loss = await lossOf(decoder);
      const files = await adapterFiles(adapter, { model: 'org/tiny', revision: 'v1' });
      adapter.dispose();
      const directory = memoryDirectory('saved', files);
      const loaded = await loadAdapter(decoder, directory);
      expect(await lossOf(decoder)).toBe(loss);
      expect(await adapterFiles(loaded)).toEqual(files);
      loaded.dispose();
      const { config, tensors } = await readAdapter(directory);
      const deeper = parseModelConfig({ ...TINY_CONFIG, num_hidden_layers: 3 });
      expect(definitionOf('bottleneck').mismatches(deeper, config, tensors)).toHaveLength(4);
    });
  });
});
