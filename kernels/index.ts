/** The only place that registers kernels and gradients with tfjs. */
// Brings the gradients of the stock ops; tfjs-core alone registers none.
import '@tensorflow/tfjs';
import { attentionGradOp, attentionOp } from './attention/kernel.js';
import { registerOp, type Op } from './runtime/op.js';
import { rmsNormGradOp, rmsNormOp } from './rms-norm/kernel.js';

const OPS: readonly Op[] = [attentionOp, attentionGradOp, rmsNormOp, rmsNormGradOp];
const BACKENDS = ['webgpu', 'wasm', 'cpu', 'tensorflow'] as const;

for (const op of OPS) registerOp(op, BACKENDS);

export { attention, type AttentionOptions } from './attention/kernel.js';
export { rmsNorm } from './rms-norm/kernel.js';
export { kernelMode, setKernelMode, withKernelMode, type KernelMode } from './runtime/op.js';
export { checkpointed, valueAndGradients } from './runtime/gradients.js';
export { gpuDispatchCount } from './runtime/webgpu.js';
export type * from './types.js';

/** Names of the ops that have a hand-written kernel on a backend; the others run their reference there. */
export function handWrittenOps(backend: string): string[] {
  return OPS.filter((op) => (backend === 'wasm' ? op.wasm : backend === 'webgpu' ? op.webgpu : undefined) !== undefined).map((op) => op.name);
}
