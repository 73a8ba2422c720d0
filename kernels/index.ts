/** The only place that registers kernels and gradients with tfjs. */
import './tfjs/register-gradients.js';
import { accumulateOp } from './adamw/accumulate.js';
import { adamwOp } from './adamw/kernel.js';
import { flatNormOp, globalNormOp } from './adamw/norm.js';
import { attentionGradOp, attentionOp } from './attention/kernel.js';
import { softmaxLossOp } from './cross-entropy/softmax-loss.js';
import { registerDryRun } from './dry-run/register.js';
import { dropoutOp } from './dropout/kernel.js';
import { embeddingGradOp, embeddingOp } from './embedding/kernel.js';
import { layerNormGradOp, layerNormWeightsGradOp } from './layer-norm/backward.js';
import { layerNormOp } from './layer-norm/kernel.js';
import { linearGradOp, lowRankGradOp } from './linear/backward.js';
import { linearOp, plainLinearOp } from './linear/kernel.js';
import { matmulOp } from './matmul/kernel.js';
import { dequantizeOp } from './nf4-dequantize/kernel.js';
import { quantizedMatmulOp } from './nf4-matmul/kernel.js';
import { handWrittenKernel, registerOp, type Op } from './runtime/op.js';
import { saveWithoutOps } from './tfjs/engine.js';
import { shareClonesOnWasm } from './tfjs/share-clones.js';
import { rmsNormGradOp, rmsNormWeightGradOp } from './rms-norm/backward.js';
import { addRmsNormOp, rmsNormOp } from './rms-norm/kernel.js';
import { activationGradOp, activationOp } from './swiglu/activation.js';
import { swigluGradOp, swigluOp } from './swiglu/kernel.js';

const OPS: readonly Op[] = [
  attentionOp,
  attentionGradOp,
  rmsNormOp,
  addRmsNormOp,
  rmsNormGradOp,
  rmsNormWeightGradOp,
  layerNormOp,
  layerNormGradOp,
  layerNormWeightsGradOp,
  swigluOp,
  swigluGradOp,
  activationOp,
  activationGradOp,
  embeddingOp,
  embeddingGradOp,
  softmaxLossOp,
  adamwOp,
  accumulateOp,
  globalNormOp,
  flatNormOp,
  dropoutOp,
  dequantizeOp,
  matmulOp,
  quantizedMatmulOp,
  linearOp,
  plainLinearOp,
  lowRankGradOp,
  linearGradOp,
];
const BACKENDS = ['webgpu', 'wasm', 'cpu', 'tensorflow'] as const;

for (const op of OPS) registerOp(op, BACKENDS);
registerDryRun(OPS);
shareClonesOnWasm();
saveWithoutOps();

export { attention, type AttentionOptions } from './attention/kernel.js';
export { accumulate, accumulateFlat } from './adamw/accumulate.js';
export { adamwUpdate, type AdamwItem, type AdamwOptions } from './adamw/kernel.js';
export { clipScale, globalNorm } from './adamw/norm.js';
export {
  checkTargets,
  crossEntropySum,
  crossEntropyThrough,
  headChunkRows,
  tokenLosses,
  type CrossEntropyOptions,
  type HeadFunction,
  type HeadOptions,
} from './cross-entropy/kernel.js';
export { placesOf, type Targets } from './cross-entropy/chunks.js';
export {
  rowLogProbabilities,
  rowLogProbabilitiesThrough,
  type RowLogProbabilities,
} from './cross-entropy/row-log-probabilities.js';
export { dropout } from './dropout/kernel.js';
export { withDryRun, type DryPeak, type DryRunBackend } from './dry-run/backend.js';
export { embedding } from './embedding/kernel.js';
export { gelu, type Activation } from './swiglu/activation.js';
export { swiglu } from './swiglu/kernel.js';
export { layerNorm } from './layer-norm/kernel.js';
export { addRmsNorm, rmsNorm } from './rms-norm/kernel.js';
export { linear, linears, type LinearOptions } from './linear/kernel.js';
export type { LinearMember } from './linear/linear-group.js';
export {
  canBeFlat,
  flatLayout,
  FlatTensors,
  MOST_FLAT_BYTES,
  type FlatLayout,
  type Gradients,
} from './runtime/webgpu/flat.js';
export { gpuCopy } from './runtime/webgpu/views.js';
export { replayAllowed, Replays, setReplay, type ReplayOptions, type StepInputs } from './runtime/replay/replays.js';
export { matmul } from './matmul/kernel.js';
export type { MatmulForm } from './matmul/form.js';
export { dequantize } from './nf4-dequantize/kernel.js';
export {
  disposeWeight,
  downloadQuantized,
  uploadDense,
  uploadQuantized,
  weightBytes,
} from './nf4-dequantize/weight.js';
export { quantizedMatmul } from './nf4-matmul/kernel.js';
export { kernelMode, setKernelMode, withKernelMode, type KernelMode } from './runtime/op.js';
export { checkpointed, pullback, untracked, valueAndGradients, type Pullback } from './runtime/gradients/gradients.js';
export { withGpuClock, type GpuTimes } from './runtime/webgpu/clock.js';
export {
  chooseMatrixUnit,
  describeMatrixAdapter,
  MATRIX_FEATURE,
  type SubgroupMatrixConfig,
} from './runtime/webgpu/matrix-unit.js';
export {
  availableVariants,
  KERNEL_VARIANTS,
  kernelVariant,
  setKernelVariant,
  type KernelVariant,
} from './runtime/variant.js';
export { finishJobs } from './runtime/threads/threads.js';
export { gpuDispatchCount } from './runtime/webgpu/dispatch.js';
export type * from './types.js';

/** Names of the ops that have a hand-written kernel on a backend; the others run their reference there. */
export function handWrittenOps(backend: string): string[] {
  return OPS.filter((op) => handWrittenKernel(op, backend) !== undefined).map((op) => op.name);
}
