import * as tf from '@tensorflow/tfjs-core';
import { dequantizeOp } from '../nf4-dequantize/kernel.js';
import { weightTensors } from '../nf4-dequantize/weight.js';
import { runOp, type Attrs, type Op } from '../runtime/op.js';
import { membersOf, type LinearAttrs, type MemberAttrs, type MemberTensors, type WithX } from './linear-group.js';

type Matrices = Record<string, tf.Tensor2D>;
/** Runs `body` on the float values of a member's weight. */
export type WithWeight = (
  tensors: MemberTensors<tf.Tensor>,
  attrs: MemberAttrs,
  body: (w: tf.Tensor2D) => tf.Tensor2D,
) => tf.Tensor2D;

const decoded: WithWeight = (tensors, { quantized }, body) =>
  body((tensors['w'] ?? runOp(dequantizeOp, weightTensors(tensors), quantized as unknown as Attrs)) as tf.Tensor2D);

/** LowrankLinear in stock ops. */
export function linearWith(withWeight: WithWeight): Op['reference'] {
  return (inputs, attrs) => {
    const { members } = attrs as unknown as LinearAttrs;
    const { x } = inputs as Matrices & { x: tf.Tensor2D };
    const xas: tf.Tensor2D[] = [];
    const ys = membersOf(inputs, members.length).map((tensors, i) => {
      const member = members[i] as MemberAttrs;
      const { a, b, bias, loraInput } = tensors as Partial<Matrices>;
      let y = withWeight(tensors, member, (w) => tf.matMul(x, w, false, true));
      if (bias !== undefined) y = tf.add(y, bias);
      if (a === undefined || b === undefined) return y;
      const xa: tf.Tensor2D = tf.matMul(loraInput ?? x, a, false, true);
      xas.push(xa);
      // The scale on the narrow factor: y is as wide as the layer.
      return tf.add(y, tf.matMul(tf.mul(xa, member.scale), b, false, true));
    });
    return xas.length === 0 ? ys : [tf.concat(xas, 1), ...ys];
  };
}

/** LowrankLinearGrad in stock ops. */
export function linearGradWith(withWeight: WithWeight): Op['reference'] {
  return (inputs, attrs) => {
    const { members, withX } = attrs as unknown as LinearAttrs & WithX;
    const { x, dyb } = inputs as Matrices;
    const sums: tf.Tensor2D[] = [];
    const own = membersOf(inputs, members.length).flatMap((tensors, i) => {
      const member = members[i] as MemberAttrs;
      const { dy, a, loraInput } = tensors as Partial<Matrices> & { dy: tf.Tensor2D };
      if (withX) sums.push(withWeight(tensors, member, (w) => tf.matMul(dy, w)));
      if (a === undefined || dyb === undefined) return [];
      const mine = tf.slice(dyb, [0, member.firstColumn], [-1, member.rank]);
      const back = withX || loraInput !== undefined ? [tf.matMul<tf.Tensor2D>(mine, a)] : [];
      if (loraInput === undefined) sums.push(...back);
      return [
        tf.matMul<tf.Tensor2D>(mine, (loraInput ?? x) as tf.Tensor2D, true),
        ...(loraInput === undefined ? [] : back),
      ];
    });
    // Not addN: on webgpu it binds all operands at once, and past the device's limit gives a wrong number.
    return withX ? [sums.reduce((sum, term) => tf.add(sum, term)), ...own] : own;
  };
}

export const linearReference = linearWith(decoded);
export const linearGradReference = linearGradWith(decoded);

/** LowrankLowRankGrad in stock ops. */
export function lowRankGradReference(inputs: Record<string, tf.Tensor>, attrs: Attrs): tf.Tensor[] {
  const { members } = attrs as unknown as LinearAttrs;
  const { xa } = inputs as Matrices & { xa: tf.Tensor2D };
  const dybs: tf.Tensor[] = [];
  const dbs = membersOf(inputs, members.length).flatMap((tensors, i) => {
    const { dy, b } = tensors as Matrices & { dy: tf.Tensor2D };
    if (b === undefined) return [];
    const { scale, firstColumn, rank } = members[i] as MemberAttrs;
    dybs.push(tf.mul(tf.matMul(dy, b), scale));
    return [tf.mul(tf.matMul(dy, tf.slice(xa, [0, firstColumn], [-1, rank]), true), scale)];
  });
  return [tf.concat(dybs, 1), ...dbs];
}
