import type { AdapterSettings } from '../adapters/registry.js';
import type { RunConfig } from '../config/schema.js';
import type { ModelConfig } from '../model/config.js';
import type { LoadQuantization } from '../model/load.js';
import type { Objective } from '../train/objectives/objective.js';
import { OBJECTIVES } from '../train/objectives/registry.js';
import type { UpdateRule } from '../train/optimizers/optimizer.js';
import { OPTIMIZERS } from '../train/optimizers/registry.js';

/** What decides how much memory a run needs. */
export interface PlanSettings {
  readonly model: ModelConfig;
  /** tfjs's name of what computes. */
  readonly backend: string;
  /** Each takes scratch memory on `wasm`; those of the open backend unless given. */
  readonly threads?: number | undefined;
  readonly quantization: LoadQuantization | undefined;
  readonly adapter: AdapterSettings;
  /** Examples in a micro-batch. */
  readonly batch: number;
  /** Tokens in each. */
  readonly seq: number;
  /** Micro-batches in an optimiser step. */
  readonly accumulation: number;
  readonly gradientCheckpointing: boolean;
  readonly optim: RunConfig['training']['optim'];
  /** Of `sgd`, which keeps nothing without. Default 0. */
  readonly momentum?: number | undefined;
  /** The name of one, or one that has none in a config; `token_mean` unless given. */
  readonly objective?: RunConfig['training']['objective'] | Objective;
}

/** Bytes on the device at the fullest moment of an optimiser step; the parts add up to the total. */
export interface MemoryParts {
  /** Linear layers in 4 bits, with their scales. */
  readonly quantizedWeights: number;
  /** Linear layers as float32. */
  readonly denseWeights: number;
  readonly embeddingAndHead: number;
  /** Norms, biases, rotary tables. */
  readonly smallTensors: number;
  readonly adapters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  /** Kept from the forward pass for the backward pass, as far as that has not used them up. */
  readonly activations: number;
  /** All else: what kernels hand each other, the logits of a chunk, a recomputed layer, a page of moments. */
  readonly workspace: number;
}

export interface MemoryPlan {
  readonly settings: PlanSettings;
  readonly parts: MemoryParts;
  /** Bytes of tensors on the device at the fullest moment. */
  readonly total: number;
  /** Bytes that the whole forward pass of a micro-batch keeps for its backward pass. */
  readonly keptActivations: number;
  /** Bytes of the logits that exist at a time. */
  readonly headChunk: number;
  /** The largest tensor that a step makes. */
  readonly largestTransient: number;
  /** The largest base weight. */
  readonly largestWeight: { readonly name: string; readonly bytes: number };
  /** The trained parameters as float32. */
  readonly trainedBytes: number;
  /** What the optimiser keeps of them. */
  readonly slotBytes: number;
  /** That where it is in host memory (`paged_adamw`); else 0. */
  readonly hostBytes: number;
}

/** What is minimised. */
export function objectiveOf({ objective = 'token_mean' }: PlanSettings): Objective {
  return typeof objective === 'string' ? OBJECTIVES[objective] : objective;
}

/** Settings that change no size. */
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0 };

/** The rule of the optimiser, and whether its slots are in host memory. */
export function optimizerOf({ optim, momentum = 0 }: Pick<PlanSettings, 'optim' | 'momentum'>): {
  readonly paged: boolean;
  readonly rule: UpdateRule;
} {
  const { paged, rule } = OPTIMIZERS[optim];
  return { paged, rule: rule({ ...ADAMW, momentum }) };
}
