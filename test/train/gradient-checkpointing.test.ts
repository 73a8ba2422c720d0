import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { METHODS } from '../../src/adapters/registry.js';
import { loadConfig } from '../../src/config/load.js';
import type { Example } from '../../src/data/examples.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadModel } from '../../src/model/load.js';
import { train } from '../../src/train/loop.js';
import { describeBackends } from '../support/backends.js';
import { watchMemory } from '../support/peak.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

const EXAMPLES: Example[] = countingRows(12, 5, 24).map(({ input_ids: ids }, i) => ({
  inputIds: Int32Array.from(ids),
  labels: Int32Array.from(ids),
  row: i + 1,
  source: 'memory',
}));

interface Outcome {
  readonly losses: readonly number[];
  readonly weights: readonly Float32Array[];
  readonly peak: number;
}

/** Three steps of two micro-batches each; the peak is that of a step, beyond what lies between two. */
async function threeSteps(checkpointing: boolean, dropout: number, quantized: boolean): Promise<Outcome> {
  const { training, adapter: options } = loadConfig(
    `{ model: m, adapter: { lora_dropout: ${dropout} }, data: { train: x }, training: { output_dir: o, max_steps: 3, logging_steps: 1, learning_rate: 0.02,
       per_device_train_batch_size: 3, gradient_accumulation_steps: 2, gradient_checkpointing: ${checkpointing} } }`,
    'test.yaml',
  );
  const decoder = await loadModel(memoryDirectory('tiny', tinyModelFiles()), {
    quantization: quantized ? { quantType: 'nf4' } : undefined,
  });
  const adapter = METHODS.lora.create(decoder, options, 3);
  const losses: number[] = [];
  const memory = watchMemory();
  try {
    const callbacks = { onStep: ({ loss }: { loss: number }) => losses.push(loss) };
    await train({ decoder, adapter, examples: EXAMPLES, options: training, callbacks });
    const weights = await Promise.all(adapter.parameters.map(({ variable }) => variable.data<'float32'>()));
    return { losses, weights: weights.map((w) => w.slice()), peak: memory.peak };
  } finally {
    memory.stop();
    adapter.dispose();
    decoder.dispose();
  }
}

describeBackends('gradient checkpointing', ['wasm', 'webgpu'], () => {
  it.each([
    { dropout: 0, quantized: false },
    { dropout: 0.3, quantized: false },
    { dropout: 0.3, quantized: true },
  ])(
    'gives the same numbers for less memory (dropout $dropout, 4 bits: $quantized)',
    async ({ dropout, quantized }) => {
      const before = tf.memory().numTensors;
      const kept = await threeSteps(false, dropout, quantized);
      const recomputed = await threeSteps(true, dropout, quantized);
      expect(kept.losses).toHaveLength(3);
      expect(kept.losses[2]).toBeLessThan(kept.losses[0] as number);
      kept.losses.forEach((loss, i) =>
        expect(Math.abs((recomputed.losses[i] as number) - loss)).toBeLessThanOrEqual(1e-6),
      );
      let moved = 0;
      kept.weights.forEach((values, i) => {
        const others = recomputed.weights[i] as Float32Array;
        values.forEach((value, k) => {
          expect(Math.abs((others[k] as number) - value)).toBeLessThanOrEqual(1e-6);
          moved = Math.max(moved, Math.abs(value));
        });
      });
      expect(moved).toBeGreaterThan(0.01);
      expect(recomputed.peak).toBeLessThan(kept.peak);
      expect(tf.memory().numTensors).toBe(before);
    },
  );
});
