import type { Op } from '../runtime/op.js';
import { linearGradReference, lowRankGradReference } from './reference.js';
import { linearGradTensorflow } from './tensorflow.js';
import { linearGradWasm, lowRankGradWasm } from './wasm.js';
import { linearGradWebgpu, lowRankGradWebgpu } from './webgpu.js';

/**
 * What is narrow in the backward pass: dyb = scale · dy·B of all members side by side `[tokens, Σ r]`, and dB = scale ·
 * dyᵀ·xa of each that has one. Inputs: dy and b of each member, numbered as LowrankLinear's inputs are; xa. Attributes
 * as LowrankLinear's.
 */
export const lowRankGradOp: Op = {
  name: 'LowrankLowRankGrad',
  reference: lowRankGradReference,
  wasm: lowRankGradWasm,
  webgpu: lowRankGradWebgpu,
  gradient: null,
};

/**
 * dx = Σ dy·W + dyb·A, without the last where a member has a loraInput; then of each member with a low-rank update dA =
 * dybᵀ·x' and, with a loraInput, its gradient dyb·A. Inputs: x and dyb, where there are updates; dy, the weight, a,
 * loraInput of each member. Attributes as LowrankLinear's and withX, without which there is no dx.
 */
export const linearGradOp: Op = {
  name: 'LowrankLinearGrad',
  reference: linearGradReference,
  wasm: linearGradWasm,
  webgpu: linearGradWebgpu,
  tensorflow: linearGradTensorflow,
  gradient: null,
};
