import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/random.js';
import type { Optimizer } from '../../../src/train/optimizers/optimizer.js';
import { PAGE_BYTES, pagesOf } from '../../../src/train/optimizers/paged.js';
import { createOptimizer, type OptimizerType } from '../../../src/train/optimizers/registry.js';
import { describeBackends } from '../../support/backends.js';
import { expectNoLeak, normals } from '../../support/numeric.js';
import { watchMemory } from '../../support/peak.js';

const SHAPES = [[3, 17], [64, 8], [5], [1, 1]];
const OPTIONS = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.05 };

/**
 * Weights after five updates with gradients from a seed, the last two by an optimiser that takes over; bytes that are
 * there between two.
 */
async function fiveSteps(
  type: OptimizerType,
  after3: OptimizerType = type,
): Promise<{ weights: Float32Array[]; bytesBetween: number }> {
  const random = new Random(11, 'optimizer');
  const memory = watchMemory();
  const parameters = SHAPES.map((shape) => {
    const tensor = tf.tensor(normals(random, tf.util.sizeFromShape(shape)), shape);
    const variable = tf.variable(tensor);
    tensor.dispose();
    return variable;
  });
  let optimizer: Optimizer = createOptimizer(type, parameters, OPTIONS);
  let bytesBetween = 0;
  for (let step = 0; step < 5; step++) {
    if (step === 3 && after3 !== type) {
      const state = await optimizer.state();
      optimizer.dispose();
      optimizer = createOptimizer(after3, parameters, OPTIONS);
      optimizer.restore(state);
    }
    const gradients = SHAPES.map((shape) => tf.tensor(normals(random, tf.util.sizeFromShape(shape), 0.1), shape));
    const scale = tf.scalar(0.7);
    await optimizer.step(gradients, 0.01 / (step + 1), scale);
    tf.dispose([gradients, scale]);
    bytesBetween = memory.bytes;
  }
  const weights = await Promise.all(parameters.map((p) => p.data<'float32'>()));
  optimizer.dispose();
  tf.dispose(parameters);
  memory.stop();
  return { weights: weights.map((w) => w.slice()), bytesBetween };
}

describeBackends('paged AdamW', ['wasm', 'webgpu'], () => {
  it('gives the bits of AdamW with the moments out of device memory', async () => {
    await expectNoLeak(async () => {
      const resident = await fiveSteps('adamw');
      const paged = await fiveSteps('paged_adamw');
      expect(paged.weights).toEqual(resident.weights);
      const size = SHAPES.reduce((sum, shape) => sum + tf.util.sizeFromShape(shape), 0);
      expect(paged.bytesBetween).toBe(4 * size);
      // On webgpu parameters, their gradients and both moments lie in one tensor each, where every parameter begins at
      // a multiple of 256 bytes.
      const flat = SHAPES.reduce((sum, shape) => sum + 64 * Math.ceil(tf.util.sizeFromShape(shape) / 64), 0);
      expect(resident.bytesBetween).toBe(tf.getBackend() === 'webgpu' ? 16 * flat : 12 * size);
    });
  });
});

describeBackends('the state of an optimiser', ['wasm', 'webgpu'], () => {
  it.each([
    ['adamw', 'paged_adamw'],
    ['paged_adamw', 'adamw'],
    ['lion_32bit', 'paged_lion_32bit'],
    ['paged_lion_32bit', 'lion_32bit'],
  ] as const)('of %s goes on in %s with the same bits', async (first, second) => {
    await expectNoLeak(async () => {
      const whole = await fiveSteps(first);
      const parted = await fiveSteps(first, second);
      expect(parted.weights).toEqual(whole.weights);
    });
  });
});

describe('pages', () => {
  it('hold neighbours up to their size, and a larger tensor alone', () => {
    const third = Math.floor(PAGE_BYTES / 3);
    expect(pagesOf([third, third, third, third, 2 * PAGE_BYTES, 1])).toEqual([[0, 1, 2], [3], [4], [5]]);
    expect(pagesOf([])).toEqual([]);
  });
});
