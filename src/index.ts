/**
 * LoRA and QLoRA fine-tuning of small decoder-only language models, in browsers and in Node.
 *
 * The two ways in are {@link finetune}, a whole run from a configuration to adapter files, and {@link openSession}, a
 * model on a device to evaluate or generate with. What they are made of is exported too. Nothing here needs Node: its
 * host, folders on disk and the Hub's cache are in `lowrank/node`.
 */

// Runs and sessions.
export {
  finetune,
  finetuneOn,
  quantizationOf,
  SharedParts,
  type FinetuneCallbacks,
  type FinetuneRequest,
  type FinetuneResult,
  type RunData,
  type RunPlan,
} from './finetune/finetune.js';
export { openSession, type Session, type SessionRequest } from './session.js';

// Errors, each with the exit status of the command line.
export { ConfigError, DataError, DeviceError, FormatError, LowrankError, TrainingError } from './errors.js';

// Configuration: one schema gives defaults, types and messages.
export { loadConfig, serializeConfig, type PathBases } from './config/load.js';
export { runConfigSchema, type RunConfig, type RunConfigInput } from './config/schema.js';

// Devices.
export { browserHost } from './device/browser.js';
export { DEVICE_NAMES, type Device, type DeviceChoice, type DeviceName, type Host } from './device/device.js';
export { openDevice } from './device/open.js';

// Folders and files, wherever they lie; safetensors.
export { blobDirectory, memoryDirectory, type Directory } from './io/directory.js';
export { blobSource, memorySource, type ByteSource } from './io/source.js';
export { openCheckpoint, type Checkpoint } from './io/weights-file.js';
export {
  encodeSafetensors,
  float32Tensor,
  SafetensorsFile,
  type SafetensorsDtype,
  type TensorBytes,
} from './io/safetensors.js';

// Tokenizers and data.
export { loadTokenizer, TOKENIZER_FILES, type Tokenizer } from './tokenizer/tokenizer.js';
export type { ChatMessage } from './tokenizer/chat-template.js';
export { collate, type Batch } from './data/collate.js';
export { loadDataset, loadTextRows, openDataset, type Dataset, type LoadedDataset } from './data/dataset.js';
export type { DataPart, DatasetPart, DatasetStats, RowOptions } from './data/parts.js';
export type { DataSource } from './data/row.js';
export type { LoadRequest } from './data/walk.js';
export type { Example, ExampleList, Examples } from './data/examples.js';
export type { DataFormat, DataOptions } from './data/options.js';
export { reportDataset, type DatasetReport, type PartReport } from './data/report.js';
export { loadSplits, type DataSplits } from './data/split.js';

// Models and their 4-bit weights.
export { parseModelConfig, type ModelConfig } from './model/config.js';
export type { Decoder, DecoderInput } from './model/decoder.js';
export { loadModel, readModelConfig, type LoadOptions, type LoadQuantization } from './model/load.js';
export { batchLossSum, type LabelledBatch } from './model/loss.js';
export { dequantize4bit, quantize4bit } from './quant/quantize.js';

// Adapters in PEFT's files.
export type { Adapter, AdapterParameter } from './adapters/adapter.js';
export { countParameters, type ParameterCounts } from './adapters/counts.js';
export { loraMismatches, linearSizes } from './adapters/lora/tensor-shapes.js';
export type { LoraOptions } from './adapters/lora/options.js';
export { adapterFiles, loadAdapter, readAdapter, readAdapterConfig, type AdapterFiles } from './adapters/peft/files.js';
export type { LoraConfig } from './adapters/lora/config.js';
export type { AdapterConfig } from './adapters/config.js';
export { definitionOf, METHODS, methodOf, type AdapterMethod, type AdapterSettings } from './adapters/registry.js';
export { AdapterSet } from './adapters/adapter-set.js';
export { savedSettings, trainedBase } from './adapters/settings.js';

// Exports: adapters for other tools, merged and 4-bit checkpoints, as files to write.
export { readPeftAdapter, peftAdapterFiles, type PeftAdapter } from './adapters/peft/document.js';
export { fusionOf, type Fusion } from './export/weight-merge.js';
export { ggufAdapter, type GgufOptions } from './export/gguf/lora.js';
export { GgufFile } from './export/gguf/read.js';
export { encodeGguf } from './export/gguf/write.js';
export { modelfile } from './export/gguf/modelfile.js';
export { mergedFiles, type MergeOptions } from './export/merge.js';
export { mlxFiles } from './export/mlx.js';
export type { OutputFile } from './export/output.js';
export { portableAdapter } from './export/portable.js';
export { quantizedFiles, type QuantizeCheckpointOptions } from './export/quantize-checkpoint.js';

// Training, and checkpoints to resume from.
export { train } from './train/loop.js';
export type { EvalMetrics, StepMetrics } from './train/metrics.js';
export type { AdamWOptions, Optimizer, OptimizerState } from './train/optimizers/optimizer.js';
export { AdamW } from './train/optimizers/resident.js';
export type { TrainCallbacks, TrainRequest, TrainResult } from './train/request.js';
export { readTrainState, trainStateFiles, type TrainState } from './train/run-state.js';
export { checkpointName, type CheckpointInfo } from './resume/checkpoint.js';
export { MANIFEST_FILE, manifestProblem } from './resume/manifest.js';

// Ablations: many runs, their table, the subspaces that they found.
export { parseAblation, type AblationConfig } from './ablation/config.js';
export type { Evaluation } from './ablation/evaluation.js';
export { ablationFiles } from './ablation/files.js';
export { recommendRank, type RankLosses, type Recommendation } from './ablation/recommend.js';
export type { AblationCallbacks, AblationRequest, AblationState } from './ablation/request.js';
export { readAblationState, runAblation } from './ablation/runner.js';
export { planRuns, type AblationRun } from './ablation/runs.js';
export type { AblationStore, RunStore } from './ablation/store.js';
export { subspaceSimilarity, updateSpectrum } from './ablation/subspace.js';
export { summarise, type Summary } from './ablation/summary.js';

// Evaluation and generation.
export { generate, type Generated, type GenerateOptions } from './eval/generate.js';
export { evaluateLoss, type LossResult } from './eval/loss.js';
export { encodePrompt, stopTokensOf, type Prompt } from './eval/prompt.js';
export { decodeContinuation, TextStream } from './eval/stream.js';

/** The ops underneath, each differentiable and with its own kernel where the device has one. Also `lowrank/kernels`. */
export * as kernels from '../kernels/index.js';
