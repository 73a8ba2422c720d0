import * as tf from '@tensorflow/tfjs-core';
import type { RopeConfig } from './config.js';

/**
 * Angular frequencies of RoPE, one a rotated pair: θ^(−2i/d), scaled as config.json asks.
 * llama3: frequencies below the original context's reach are divided by `factor`, those well inside stay, with a linear
 * blend between.
 * @returns `[rotaryDim / 2]`
 * Source: Su et al. 2021, arXiv:2104.09864; the Llama 3.1 model card for its scaling.
 */
export function ropeFrequencies(rope: RopeConfig): Float64Array {
  const { theta, rotaryDim, scaling } = rope;
  return Float64Array.from({ length: rotaryDim / 2 }, (_, i) => {
    // float32 as torch computes it: the tables of long contexts amplify the last bit.
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / rotaryDim)));
    if (scaling.type === 'default') return frequency;
    if (scaling.type === 'linear') return Math.fround(frequency / scaling.factor);
    const wavelength = (2 * Math.PI) / frequency;
    const low = scaling.originalMaxPositions / scaling.lowFreqFactor;
    const high = scaling.originalMaxPositions / scaling.highFreqFactor;
    if (wavelength > low) return Math.fround(frequency / scaling.factor);
    if (wavelength < high) return frequency;
    const blend =
      (scaling.originalMaxPositions / wavelength - scaling.lowFreqFactor) /
      (scaling.highFreqFactor - scaling.lowFreqFactor);
    return Math.fround(((1 - blend) * frequency) / scaling.factor + blend * frequency);
  });
}

/** Cosine and sine tables on the device, `[positions, rotaryDim / 2]` each, grown on demand. */
export class RopeTables {
  private tables: { cos: tf.Tensor2D; sin: tf.Tensor2D } | undefined;
  private readonly frequencies: Float64Array;

  constructor(rope: RopeConfig) {
    this.frequencies = ropeFrequencies(rope);
  }

  /** Tables for at least this many positions. They belong to this object. */
  upTo(positions: number): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    if (this.tables !== undefined && this.tables.cos.shape[0] >= positions) return this.tables;
    const rows = Math.max(64, 2 ** Math.ceil(Math.log2(positions)));
    const half = this.frequencies.length;
    const angle = Float32Array.from(
      { length: rows * half },
      (_, i) => Math.floor(i / half) * (this.frequencies[i % half] as number),
    );
    this.dispose();
    this.tables = {
      cos: tf.keep(tf.tensor2d(angle.map(Math.cos), [rows, half])),
      sin: tf.keep(tf.tensor2d(angle.map(Math.sin), [rows, half])),
    };
    return this.tables;
  }

  dispose(): void {
    if (this.tables !== undefined) tf.dispose([this.tables.cos, this.tables.sin]);
    this.tables = undefined;
  }
}
