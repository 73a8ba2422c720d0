import * as tf from '@tensorflow/tfjs-core';

/** The fields of config.json that the model below needs. */
export interface PlainConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly vocab_size: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
}

/**
 * Sum of the token losses of a Llama (with biases where there are any, with a head of its own where there is one) in
 * stock TensorFlow.js ops alone: what its automatic differentiation makes of it is an independent judge of gradients.
 */
export function plainLossSum(
  tensors: ReadonlyMap<string, tf.Tensor>,
  config: PlainConfig,
  rows: readonly (readonly number[])[],
): tf.Scalar {
  const of = (name: string): tf.Tensor => tensors.get(name) as tf.Tensor;
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads, rms_norm_eps: eps } = config;
  const [length, dim] = [(rows[0] as number[]).length, hidden / heads];
  const norm = (x: tf.Tensor, name: string): tf.Tensor =>
    tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps))), of(name));
  const linear = (x: tf.Tensor, name: string): tf.Tensor => {
    const y = tf.matMul(x as tf.Tensor2D, of(`${name}.weight`) as tf.Tensor2D, false, true);
    return tensors.has(`${name}.bias`) ? tf.add(y, of(`${name}.bias`)) : y;
  };
  const half = dim / 2;
  const angles = tf.tensor2d(
    Array.from({ length }, (_, t) =>
      Array.from({ length: dim }, (_, i) => t * config.rope_theta ** (-(i % half) / half)),
    ),
  );
  const [cos, sin] = [tf.cos(angles), tf.sin(angles)];
  const rotate = (x: tf.Tensor2D): tf.Tensor2D => {
    const [first, second] = [tf.slice(x, [0, 0], [length, half]), tf.slice(x, [0, half], [length, half])];
    return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(second), first], 1), sin));
  };
  const mask = tf.tensor2d(Array.from({ length }, (_, q) => Array.from({ length }, (_, k) => (k > q ? -1e9 : 0))));
  const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor => {
    const part = (x: tf.Tensor, at: number): tf.Tensor2D => tf.slice(x as tf.Tensor2D, [0, at * dim], [length, dim]);
    const outputs = Array.from({ length: heads }, (_, h) => {
      const kv = Math.floor((h * kvHeads) / heads);
      const scores = tf.div(tf.matMul(rotate(part(q, h)), rotate(part(k, kv)), false, true), Math.sqrt(dim));
      return tf.matMul(tf.softmax(tf.add(scores, mask)) as tf.Tensor2D, part(v, kv));
    });
    return tf.concat(outputs, 1);
  };
  const table = of('model.embed_tokens.weight') as tf.Tensor2D;
  const head = (tensors.get('lm_head.weight') ?? table) as tf.Tensor2D;
  const losses = rows.map((row) => {
    const ids = tf.oneHot(tf.tensor1d([...row], 'int32'), config.vocab_size) as tf.Tensor2D;
    let x: tf.Tensor = tf.matMul(tf.cast(ids, 'float32'), table);
    for (let i = 0; i < config.num_hidden_layers; i++) {
      const at = `model.layers.${i}`;
      const y = norm(x, `${at}.input_layernorm.weight`);
      const attended = attend(
        linear(y, `${at}.self_attn.q_proj`),
        linear(y, `${at}.self_attn.k_proj`),
        linear(y, `${at}.self_attn.v_proj`),
      );
      x = tf.add(x, linear(attended, `${at}.self_attn.o_proj`));
      const z = norm(x, `${at}.post_attention_layernorm.weight`);
      const gate = linear(z, `${at}.mlp.gate_proj`);
      x = tf.add(
        x,
        linear(tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(z, `${at}.mlp.up_proj`)), `${at}.mlp.down_proj`),
      );
    }
    const logits = tf.matMul(norm(x, 'model.norm.weight') as tf.Tensor2D, head, false, true);
    const predicting = tf.slice(logits, [0, 0], [length - 1, config.vocab_size]);
    const wanted = tf.cast(tf.slice(ids, [1, 0], [length - 1, config.vocab_size]), 'float32');
    return tf.neg(tf.sum(tf.mul(tf.logSoftmax(predicting), wanted)));
  });
  return tf.addN(losses) as tf.Scalar;
}
