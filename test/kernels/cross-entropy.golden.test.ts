import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  crossEntropySum,
  disposeWeight,
  embedding,
  tokenLosses,
  uploadDense,
  type Targets,
} from '../../kernels/index.js';
import { describeBackends } from '../support/backends.js';
import { goldenFolder, missingGoldens, readTensors } from '../support/goldens.js';
import { expectClose, expectNoLeak } from '../support/numeric.js';
import { describeReferences } from '../support/references.js';

interface Golden {
  readonly ids: Int32Array;
  readonly table: Float32Array;
  readonly embedded: Float32Array;
  readonly head: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly hidden: Float32Array;
  readonly targets: Targets;
  readonly tokenLosses: Float32Array;
  readonly dim: number;
}

/**
 * What transformers computed in float32: the hidden states after the last norm, and the loss of each token from them.
 */
async function golden(name: string): Promise<Golden> {
  const folder = goldenFolder(name) as string;
  const [model, base, inputs] = await Promise.all(
    ['model', 'golden/base', 'golden/inputs'].map((file) => readTensors(join(folder, `${file}.safetensors`))),
  );
  const floats = (tensors: typeof model, key: string): Float32Array =>
    Float32Array.from(tensors?.get(key)?.values ?? []);
  const labels = inputs?.get('labels')?.values ?? [];
  const nll = floats(base, 'token_nll');
  const [batch, seq] = inputs?.get('labels')?.shape as [number, number];
  const kept = Array.from({ length: batch * (seq - 1) }, (_, i) => ({
    i,
    row: Math.floor(i / (seq - 1)) * seq + (i % (seq - 1)),
  })).filter(({ row }) => labels[row + 1] !== -100);
  return {
    ids: Int32Array.from(inputs?.get('input_ids')?.values ?? []),
    table: floats(model, 'model.embed_tokens.weight'),
    embedded: floats(base, 'hidden.0'),
    head: floats(model, 'lm_head.weight'),
    bias: model?.has('lm_head.bias') ? floats(model, 'lm_head.bias') : undefined,
    hidden: floats(base, 'hidden.2'),
    targets: {
      rows: Int32Array.from(kept, (k) => k.row),
      labels: Int32Array.from(kept, (k) => labels[k.row + 1] as number),
    },
    tokenLosses: Float32Array.from(kept, (k) => nll[k.i] as number),
    dim: model?.get('model.embed_tokens.weight')?.shape[1] ?? 0,
  };
}

describeReferences('against transformers', missingGoldens('llama', 'phi'), () => {
  describeBackends('embedding and token losses', ['cpu', 'wasm', 'webgpu'], () => {
    it.each(['llama', 'phi'])('of %s', async (name) => {
      const g = await golden(name);
      const vocab = g.table.length / g.dim;
      expect(g.targets.rows.length).toBeGreaterThan(20);
      await expectNoLeak(async () => {
        const table = tf.tensor2d(g.table, [vocab, g.dim]);
        const ids = tf.tensor1d(g.ids, 'int32');
        const embedded = embedding(table, ids);
        const weight = uploadDense(g.head, [vocab, g.dim]);
        const hidden = tf.tensor2d(g.hidden, [g.ids.length, g.dim]);
        const bias = g.bias === undefined ? {} : { bias: tf.tensor1d(g.bias) };
        const losses = tokenLosses(hidden, weight, g.targets, bias);
        const sum = crossEntropySum(hidden, weight, g.targets, { ...bias, training: false });
        expectClose(await embedded.data(), g.embedded, 0, 'embedding');
        expectClose(await losses.data(), g.tokenLosses, 2e-6, 'losses');
        expectClose(await sum.data(), [g.tokenLosses.reduce((a, b) => a + b, 0)], 2e-6, 'sum');
        tf.dispose([table, ids, embedded, hidden, losses, sum, ...Object.values(bias)]);
        disposeWeight(weight);
      });
    });
  });
});
