/**
 * LoRA and QLoRA fine-tuning of small decoder-only language models, in browsers and in Node.
 *
 * {@link finetune} trains an adapter from a configuration and returns its files; {@link openSession} opens a model with
 * adapters, to evaluate it or to generate text; {@link runAblation} compares many runs. Nothing here needs Node:
 * folders on disk, the Hub's cache and Node's devices are in `lowrank/node`, the differentiable ops in
 * `lowrank/kernels`, and what the package is built of, without a promise that it stays, in `lowrank/internals`.
 * @packageDocumentation
 */

// Training.
export { finetune, finetuneOn } from './finetune/finetune.js';
export type {
  FinetuneCallbacks,
  FinetuneRequest,
  FinetuneResult,
  RunData,
  RunPlan,
  TrainedModel,
} from './finetune/request.js';
export { SharedResources } from './finetune/shared-resources.js';
export type { EvalMetrics, NamedValues, StepMetrics } from './train/metrics.js';

// Objectives: what a run minimises, for ones of your own.
export type {
  InputOptions,
  LossSums,
  MicroBatch,
  Objective,
  ObjectiveContext,
  ObjectiveInputs,
} from './train/objectives/objective.js';
export { tokenMean, type TokenInputs } from './train/objectives/token-mean.js';
export { hiddenOf, type LossInputs } from './model/loss.js';

// Models with adapters: evaluation and generation.
export { openSession, type Session, type SessionRequest } from './session.js';
export { AdapterSet } from './adapters/adapter-set.js';
export type { Decoder, DecoderInput } from './model/decoder.js';
export type { ModelConfig } from './model/config.js';
export type { LoadQuantization } from './model/load.js';
export { generate, type Generated, type GenerateOptions } from './eval/generate.js';
export { evaluateLoss, type LossResult } from './eval/loss.js';
export { encodePrompt, stopTokensOf, type Prompt } from './eval/prompt.js';
export { decodeContinuation, TextStream } from './eval/stream.js';

// Errors, each with the exit status of the command line.
export { ConfigError, DataError, DeviceError, FormatError, LowrankError, TrainingError } from './errors.js';

// Configuration: one schema gives defaults, types and messages.
export { loadConfig, serializeConfig, type PathBases } from './config/load.js';
export { runConfigSchema, type RunConfig, type RunConfigInput } from './config/schema.js';

// Devices.
export { browserHost } from './device/browser.js';
export { DEVICE_NAMES, type Device, type DeviceChoice, type DeviceName, type Host } from './device/device.js';
export { openDevice } from './device/open.js';

// Folders and files, wherever they are.
export { blobDirectory, memoryDirectory, type Directory } from './io/directory.js';
export { blobSource, memorySource, type ByteSource } from './io/source.js';

// Tokenizers and data.
export { loadTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';
export type { ChatMessage } from './tokenizer/chat-template.js';
export { loadDataset, type Dataset, type LoadedDataset } from './data/dataset.js';
export type { RowOptions } from './data/parts.js';
export type { DataSource } from './data/row.js';
export type { Example, Examples } from './data/examples.js';
export type { DataFormat } from './data/options.js';
export type { LoadRequest } from './data/walk.js';

// Adapters for other tools, merged and 4-bit models, as files to write.
export { readPeftAdapter, peftAdapterFiles, type PeftAdapter } from './adapters/peft/document.js';
export { openCheckpoint, type Checkpoint } from './io/weights-file.js';
export { ggufAdapter, type GgufOptions } from './export/gguf/lora.js';
export { modelfile } from './export/gguf/modelfile.js';
export { mergedFiles, type MergeOptions } from './export/merge.js';
export { mlxFiles } from './export/mlx.js';
export type { OutputFile } from './export/output.js';
export { portableAdapter } from './export/portable.js';
export { quantizedFiles, type QuantizeCheckpointOptions } from './export/quantize-checkpoint.js';
export { fusionOf, type Fusion } from './export/weight-merge.js';

// Ablations: many runs, and the table that compares them.
export { parseAblation, type AblationConfig } from './ablation/config.js';
export type { Evaluation } from './ablation/evaluation.js';
export { ablationFiles } from './ablation/files.js';
export { recommendRank, type RankLosses, type Recommendation } from './ablation/recommend.js';
export type { AblationCallbacks, AblationRequest, AblationState } from './ablation/request.js';
export { readAblationState, runAblation } from './ablation/runner.js';
export { planRuns, type AblationRun } from './ablation/runs.js';
export type { AblationStore, RunStore } from './ablation/store.js';
export { summarise, type Summary } from './ablation/summary.js';
