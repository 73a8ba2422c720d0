import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { dequantize, type QuantizedWeight } from '../../kernels/index.js';
import { METHODS } from '../../src/adapters/registry.js';
import { generate } from '../../src/eval/generate.js';
import { memoryDirectory } from '../../src/io/directory.js';
import type { Decoder } from '../../src/model/decoder.js';
import { FAMILIES } from '../../src/model/families/registry.js';
import { loadModel } from '../../src/model/load.js';
import type { MicroBatch } from '../../src/train/objectives/objective.js';
import { lossAndGradients } from '../../src/train/step.js';
import { describeBackends } from '../support/backends.js';
import { FAMILY_CONFIGS } from '../support/family-models.js';
import { modelFiles } from '../support/tiny-model.js';

const FIRST = [1, 5, 9, 13, 3, 8, 2, 30, 17];
const SECOND = [7, 7, 21, 4, 11];

it('every family is among those that are tested', () => {
  expect([...new Set(FAMILY_CONFIGS.map(([, { model_type }]) => model_type))].sort()).toEqual(
    Object.keys(FAMILIES).sort(),
  );
});

async function hiddenStates(
  decoder: Decoder,
  ids: readonly number[],
  starts?: readonly number[],
): Promise<Float32Array> {
  const hidden = tf.tidy(() => {
    const segments = starts === undefined ? {} : { starts: tf.tensor1d([...starts], 'int32') };
    return decoder.hidden({ ids: tf.tensor1d([...ids], 'int32'), batch: 1, length: ids.length, ...segments });
  });
  const values = await hidden.data<'float32'>();
  hidden.dispose();
  return values;
}

function expectClose(actual: Float32Array, expected: Float32Array, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(1, ...expected.map(Math.abs));
  expect(
    actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (expected[i] as number))), 0) / scale,
  ).toBeLessThanOrEqual(tolerance);
}

for (const [name, config] of FAMILY_CONFIGS) {
  describeBackends(name, ['wasm', 'webgpu'], () => {
    const files = modelFiles(config);
    let decoder: Decoder;
    beforeAll(async () => {
      decoder = await loadModel(memoryDirectory(name, files));
    });
    afterAll(() => {
      decoder.dispose();
    });

    it('generates with the cache what it generates without', async () => {
      const [generated] = await generate(decoder, [FIRST], { maxNewTokens: 6, stopTokens: [] });
      const ids = [...FIRST];
      for (let i = 0; i < 6; i++) {
        const best = tf.tidy(() =>
          tf.argMax(
            decoder.logits(decoder.hidden({ ids: tf.tensor1d(ids, 'int32'), batch: 1, length: ids.length })),
            1,
          ),
        );
        ids.push((await best.data()).at(-1) as number);
        best.dispose();
      }
      expect(generated?.tokens).toEqual(ids.slice(FIRST.length));
    });

    it('gives a row of a left-padded batch what it gives the row alone', async () => {
      const options = { maxNewTokens: 6, stopTokens: [] };
      const together = await generate(decoder, [FIRST, SECOND], options);
      const [first, second] = [await generate(decoder, [FIRST], options), await generate(decoder, [SECOND], options)];
      expect(together).toEqual([...first, ...second]);
    });

    it('gives texts packed into a row what it gives each alone', async () => {
      const packed = await hiddenStates(
        decoder,
        [...FIRST, ...SECOND],
        [...FIRST.map(() => 0), ...SECOND.map(() => FIRST.length)],
      );
      const [first, second] = [await hiddenStates(decoder, FIRST), await hiddenStates(decoder, SECOND)];
      expectClose(packed, Float32Array.of(...first, ...second));
    });

    it('has the same loss and gradients with checkpointing', async () => {
      const adapter = METHODS.lora.create(
        decoder,
        {
          r: 2,
          lora_alpha: 4,
          lora_dropout: 0,
          target_modules: 'all-linear',
          use_rslora: false,
          init_lora_weights: false,
        },
        1,
      );
      const variables = adapter.parameters.map((p) => p.variable);
      const micro: MicroBatch = {
        inputIds: Int32Array.from(FIRST),
        labels: Int32Array.from(FIRST),
        batch: 1,
        seq: FIRST.length,
        supervisedCount: FIRST.length - 1,
      };
      const run = async (checkpointed: boolean): Promise<Float32Array[]> => {
        const options = checkpointed ? { gradientCheckpointing: adapter.layerParameters } : {};
        const { loss, gradients } = lossAndGradients(decoder, variables, [micro], () => options);
        const values = await Promise.all([loss, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([loss, gradients]);
        return values;
      };
      const [plain, again] = [await run(false), await run(true)];
      expect(plain.slice(1).some((gradient) => gradient.some((value) => value !== 0))).toBe(true);
      plain.forEach((values, i) => expectClose(again[i] as Float32Array, values));
      adapter.dispose();
    });

    it('calls what an adapter puts behind each sublayer, and adds that instead', async () => {
      const { modules } = decoder.config.family;
      const called: string[] = [];
      for (let i = 0; i < decoder.config.numLayers; i++) {
        for (const part of Object.values(modules.sublayers)) {
          const path = `${modules.layer(i)}.${part}`;
          decoder.sublayers.set(path, (y) => (called.push(path), tf.zerosLike(y)));
        }
      }
      const paths = [...decoder.sublayers.keys()];
      // With nothing from attention, a token's state does not depend on the tokens before it.
      const [one, other] = [await hiddenStates(decoder, [5, 9]), await hiddenStates(decoder, [6, 9])];
      decoder.sublayers.clear();
      expect(called).toEqual([...paths, ...paths]);
      const width = decoder.config.hiddenSize;
      expect(one.slice(width)).toEqual(other.slice(width));
      expect(one.slice(0, width)).not.toEqual(other.slice(0, width));
    });

    it('takes vectors in front of each row as the tokens that they are the embeddings of', async () => {
      // Gemma multiplies what it looks up by √hidden; vectors that are handed over stand for the product, as in
      // transformers 5.
      const scale = decoder.config.family.scaledEmbedding ? Math.sqrt(decoder.config.hiddenSize) : 1;
      const front = [4, 20, 6];
      const options = { maxNewTokens: 5, stopTokens: [] };
      const texts = [FIRST, SECOND];
      const expected = {
        states: await hiddenStates(decoder, [...front, ...FIRST]),
        rows: await generate(
          decoder,
          texts.map((ids) => [...front, ...ids]),
          options,
        ),
      };
      decoder.prefix = {
        length: front.length,
        forward: () =>
          tf.tidy(() => tf.mul<tf.Tensor2D>(decoder.embedding.forward(tf.tensor1d(front, 'int32'), {}), scale)),
      };
      const actual = { states: await hiddenStates(decoder, FIRST), rows: await generate(decoder, texts, options) };
      decoder.prefix = undefined;
      expectClose(actual.states, expected.states.slice(front.length * decoder.config.hiddenSize));
      expect(actual.rows).toEqual(expected.rows);
    });

    it('loads in 4 bits, with errors of that size and no leak', async () => {
      const before = tf.memory().numTensors;
      const quantised = await loadModel(memoryDirectory(name, files), { quantization: { quantType: 'nf4' } });
      for (const [path, { weight }] of quantised.weights.linears) {
        const dense = decoder.weights.linears.get(path)?.weight;
        if (dense?.kind !== 'dense') throw new Error(`${path} is not dense`);
        const [values, decoded] = [dense.values, dequantize(weight as QuantizedWeight)];
        expect(decoded.shape).toEqual(values.shape);
        const error = tf.tidy(() =>
          tf.sqrt(tf.div(tf.mean(tf.squaredDifference(values, decoded)), tf.mean(tf.square(values)))),
        );
        expect((await error.data())[0]).toBeLessThan(0.11);
        tf.dispose([decoded, error]);
      }
      expect((await hiddenStates(quantised, FIRST)).every(Number.isFinite)).toBe(true);
      quantised.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });
  });
}
