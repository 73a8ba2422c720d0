import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import type { Random } from '../../src/random.js';

/** Standard normal values from a seed, scaled. */
export function normals(random: Random, size: number, scale = 1): Float32Array {
  return Float32Array.from({ length: size }, () => random.normal() * scale);
}

/** Asserts |actual − expected| ≤ tolerance · (1 + |expected|) everywhere and names the worst element. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = '',
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] as number;
    const e = expected[i] as number;
    const error = Math.abs(a - e) / (1 + Math.abs(e));
    if (!(error <= worst)) {
      worst = error;
      at = i;
    }
  }
  expect(
    worst <= tolerance,
    `${what}: element ${at} is ${actual[at]}, expected ${expected[at]} (error ${worst}, tolerance ${tolerance})`,
  ).toBe(true);
}

/** Runs `body` and asserts that it leaves as many tensors and bytes behind as it found. */
export async function expectNoLeak(body: () => Promise<void>): Promise<void> {
  const before = { tensors: tf.memory().numTensors, bytes: tf.memory().numBytes };
  await body();
  expect({ tensors: tf.memory().numTensors, bytes: tf.memory().numBytes }).toEqual(before);
}

/** Central differences of a scalar function in chosen coordinates, in float64 around float32 values. */
export async function centralDifferences(
  f: (x: Float32Array) => Promise<number>,
  x: Float32Array,
  coordinates: readonly number[],
  step = 1e-2,
): Promise<number[]> {
  const out: number[] = [];
  for (const i of coordinates) {
    const plus = x.slice();
    const minus = x.slice();
    plus[i] = (x[i] as number) + step;
    minus[i] = (x[i] as number) - step;
    out.push(((await f(plus)) - (await f(minus))) / ((plus[i] as number) - (minus[i] as number)));
  }
  return out;
}
