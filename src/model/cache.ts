import * as tf from '@tensorflow/tfjs-core';

/** Keys and values of the tokens seen so far, a layer each, unrotated: `[batch, tokens, kvHeads · headDim]`. */
export class KvCache {
  private readonly layers: { k: tf.Tensor3D; v: tf.Tensor3D }[] = [];

  constructor(readonly batch: number) {}

  /** Tokens held, the same in every layer between two passes. */
  get length(): number {
    return this.layers[0]?.k.shape[1] ?? 0;
  }

  /**
   * Adds a pass's keys and values (each `[batch · new, features]`) and returns all of the layer, flattened likewise.
   */
  append(layer: number, k: tf.Tensor2D, v: tf.Tensor2D): { k: tf.Tensor2D; v: tf.Tensor2D } {
    const before = this.layers[layer];
    const grown = tf.tidy(() => {
      const shape: [number, number, number] = [this.batch, k.shape[0] / this.batch, k.shape[1]];
      const [k3, v3] = [tf.reshape(k, shape) as tf.Tensor3D, tf.reshape(v, shape) as tf.Tensor3D];
      return before === undefined
        ? { k: k3.clone(), v: v3.clone() }
        : { k: tf.concat([before.k, k3], 1), v: tf.concat([before.v, v3], 1) };
    });
    tf.dispose([before?.k, before?.v].filter((t) => t !== undefined));
    this.layers[layer] = { k: tf.keep(grown.k), v: tf.keep(grown.v) };
    const rows = grown.k.shape[0] * grown.k.shape[1];
    return { k: tf.reshape(grown.k, [rows, grown.k.shape[2]]), v: tf.reshape(grown.v, [rows, grown.v.shape[2]]) };
  }

  dispose(): void {
    for (const { k, v } of this.layers) tf.dispose([k, v]);
    this.layers.length = 0;
  }
}
