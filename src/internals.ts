/**
 * What the package is built of, for programs that go further than `lowrank` does: weights and tensors in files, rows and
 * batches, models, adapters, the training loop and its state. Names and signatures may change with any version.
 * @packageDocumentation
 */

export * from './index.js';
export * as kernels from '../kernels/index.js';

// Files.
export {
  encodeSafetensors,
  float32Tensor,
  SafetensorsFile,
  type SafetensorsDtype,
  type TensorBytes,
} from './io/safetensors.js';
export { GgufFile } from './export/gguf/read.js';
export { encodeGguf } from './export/gguf/write.js';
export { TOKENIZER_FILES } from './tokenizer/tokenizer.js';

// Rows and batches.
export { collate, type Batch } from './data/collate.js';
export { loadTextRows, openDataset } from './data/dataset.js';
export type { DataPart, DatasetPart, DatasetStats } from './data/parts.js';
export type { ExampleList } from './data/examples.js';
export type { DataOptions } from './data/options.js';
export { reportDataset, type DatasetReport, type PartReport } from './data/report.js';
export { loadSplits, type DataSplits } from './data/split.js';

// Models and their 4-bit weights.
export { parseModelConfig } from './model/config.js';
export { loadModel, readModelConfig, type LoadOptions } from './model/load.js';
export { batchLossSum, type LabelledBatch } from './model/loss.js';
export { dequantize4bit, quantize4bit } from './quant/quantize.js';
export { quantizationOf } from './finetune/options.js';

// Adapters.
export type { Adapter, AdapterParameter } from './adapters/adapter.js';
export { countParameters, type ParameterCounts } from './adapters/counts.js';
export { loraMismatches, linearSizes } from './adapters/lora/tensor-shapes.js';
export type { LoraOptions } from './adapters/lora/options.js';
export { adapterFiles, loadAdapter, readAdapter, readAdapterConfig, type AdapterFiles } from './adapters/peft/files.js';
export type { LoraConfig } from './adapters/lora/config.js';
export {
  definitionOf,
  METHODS,
  methodOf,
  type AdapterConfig,
  type AdapterMethod,
  type AdapterSettings,
} from './adapters/registry.js';
export { savedSettings, trainedBase } from './adapters/settings.js';
export { subspaceSimilarity, updateSpectrum } from './ablation/subspace.js';

// The training loop, and the state of a run to continue from.
export { train } from './train/loop.js';
export { OBJECTIVES, type ObjectiveName } from './train/objectives/registry.js';
export type {
  AdamWOptions,
  Optimizer,
  OptimizerOptions,
  OptimizerSlot,
  OptimizerState,
  SlotValues,
  UpdateRule,
} from './train/optimizers/optimizer.js';
export { createOptimizer, OPTIMIZERS, type OptimizerType } from './train/optimizers/registry.js';
export { AdamW } from './train/optimizers/resident.js';
export type { TrainCallbacks, TrainRequest, TrainResult } from './train/request.js';
export { readTrainState, trainStateFiles, type TrainState } from './train/run-state.js';
export { checkpointName, type CheckpointInfo } from './resume/checkpoint.js';
export { MANIFEST_FILE, manifestProblem } from './resume/manifest.js';
