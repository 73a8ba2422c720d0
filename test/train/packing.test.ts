import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { METHODS } from '../../src/adapters/registry.js';
import { collate, type Batch } from '../../src/data/collate.js';
import type { Example } from '../../src/data/examples.js';
import { joinExamples } from '../../src/data/packing.js';
import { memoryDirectory } from '../../src/io/directory.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { Random } from '../../src/random.js';
import { lossAndGradients } from '../../src/train/step.js';
import { describeBackends } from '../support/backends.js';
import { FAMILY_CONFIGS } from '../support/family-models.js';
import { modelFiles, TINY_CONFIG } from '../support/tiny-model.js';

const LENGTHS = [9, 17, 3, 12, 1, 22, 2, 6];

function examples(): Example[] {
  const random = new Random(5, 'packing');
  return LENGTHS.map((length, row) => {
    const inputIds = Int32Array.from({ length }, () => random.below(TINY_CONFIG.vocab_size));
    return { inputIds, labels: inputIds.map((id, i) => (i < length / 4 ? -100 : id)), row, source: 'rows' };
  });
}

interface Outcome {
  readonly loss: number;
  readonly gradients: Float32Array[];
}

/** Largest difference of two gradients, against the largest entry of all. */
function apart(a: Outcome, b: Outcome): number {
  const largest = Math.max(...a.gradients.map((g) => Math.max(...g.map(Math.abs))));
  return (
    Math.max(
      ...a.gradients.map((g, k) => Math.max(...g.map((v, i) => Math.abs(v - (b.gradients[k]?.[i] as number))))),
    ) / largest
  );
}

describeBackends('packed rows', ['wasm', 'webgpu'], () => {
  async function withDecoder(
    config: Readonly<Record<string, unknown>>,
    body: (run: (batches: readonly Batch[], checkpoint?: boolean) => Promise<Outcome>) => Promise<void>,
  ): Promise<void> {
    const decoder: Decoder = await loadModel(memoryDirectory('tiny', modelFiles(config)));
    const adapter = METHODS.lora.create(
      decoder,
      {
        r: 4,
        lora_alpha: 8,
        lora_dropout: 0,
        target_modules: 'all-linear',
        use_rslora: false,
        init_lora_weights: 'gaussian',
      },
      1,
    );
    const variables = adapter.parameters.map((p) => p.variable);
    // B starts at zero, which would hide what A does to the loss.
    variables.forEach((variable, k) => {
      const random = new Random(k, 'start');
      tf.tidy(() =>
        variable.assign(
          tf.tensor(
            Float32Array.from({ length: variable.size }, () => 0.1 * random.normal()),
            variable.shape,
          ),
        ),
      );
    });
    try {
      await body(async (batches, checkpoint = false) => {
        const options = checkpoint ? { gradientCheckpointing: adapter.layerParameters } : {};
        const { loss, gradients } = lossAndGradients(decoder, variables, batches, () => options);
        const outcome = {
          loss: (await loss.data())[0] as number,
          gradients: await Promise.all(gradients.map(async (g) => Float32Array.from(await g.data()))),
        };
        tf.dispose([loss, gradients]);
        return outcome;
      });
    } finally {
      adapter.dispose();
      decoder.dispose();
    }
  }

  it.each(FAMILY_CONFIGS)('have the loss and the gradients of the same rows unpacked: %s', async (_name, config) => {
    await withDecoder(config, async (run) => {
      const rows = examples();
      const [a, b, c, d, e, f, g, h] = rows as [Example, Example, Example, Example, Example, Example, Example, Example];
      const packed = collate([joinExamples([a, c, d, e]), joinExamples([f, g]), joinExamples([b, h])]);
      const plain = collate(rows);
      expect(packed.supervisedCount).toBe(plain.supervisedCount);
      expect(packed.inputIds.length).toBeLessThan(plain.inputIds.length / 2);
      const unpacked = await run([plain]);
      for (const checkpoint of [false, true]) {
        const together = await run([packed], checkpoint);
        expect(Math.abs(together.loss - unpacked.loss) / unpacked.loss).toBeLessThan(1e-6);
        // Sums run over tokens in another order.
        expect(apart(unpacked, together)).toBeLessThan(1e-5);
      }
      const seamless = await run([{ ...packed, starts: new Int32Array(packed.inputIds.length) }]);
      expect(Math.abs(seamless.loss - unpacked.loss) / unpacked.loss).toBeGreaterThan(1e-4);
    });
  });

  it('weigh tokens alike in four micro-batches of one row and in one of four', async () => {
    await withDecoder(TINY_CONFIG, async (run) => {
      const [a, b, c, d, e, f, g, h] = examples() as [
        Example,
        Example,
        Example,
        Example,
        Example,
        Example,
        Example,
        Example,
      ];
      const rows = [joinExamples([a, c, d, e]), joinExamples([f, g]), b, h];
      const together = await run([collate(rows)]);
      const accumulated = await run(rows.map((row) => collate([row])));
      expect(Math.abs(together.loss - accumulated.loss) / together.loss).toBeLessThan(1e-6);
      expect(apart(together, accumulated)).toBeLessThan(1e-5);
    });
  });
});
