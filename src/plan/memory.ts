import * as tf from '@tensorflow/tfjs-core';
import {
  clipScale,
  flatLayout,
  globalNorm,
  headChunkRows,
  MOST_FLAT_BYTES,
  pullback,
  valueAndGradients,
  withDryRun,
  type DryPeak,
  type DryRunBackend,
  type FrozenWeight,
} from '../../kernels/index.js';
import { definitionOf, type AdapterSettings } from '../adapters/registry.js';
import type { RunConfig } from '../config/schema.js';
import type { ModelConfig } from '../model/config.js';
import type { Decoder } from '../model/decoder.js';
import type { LoadQuantization } from '../model/load.js';
import {
  objectiveSums,
  type MicroBatch,
  type Objective,
  type ObjectiveContext,
} from '../train/objectives/objective.js';
import { OBJECTIVES } from '../train/objectives/registry.js';
import { slotBytes, type Optimizer, type UpdateRule } from '../train/optimizers/optimizer.js';
import { pagesOf } from '../train/optimizers/paged.js';
import { OPTIMIZERS } from '../train/optimizers/registry.js';
import { ResidentOptimizer } from '../train/optimizers/resident.js';
import { lossAndGradients } from '../train/step.js';
import { outlineAdapter, outlineDecoder, storedQuantization, WEIGHT_TAGS } from './shape-only-decoder.js';

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

const TAGS = {
  adapters: 'adapters',
  gradients: 'gradients',
  optimizer: 'optimizer',
  activations: 'activations',
  workspace: 'workspace',
} as const;

/**
 * Memory of an optimiser step on full batches whose every token is learnt. The step itself runs on a backend whose
 * tensors have sizes and no values, so the plan knows what each op saves and when it is freed because it is the same
 * code; nothing is loaded.
 *
 * Beyond some thousand tokens every part grows by the same bytes a token: larger batches are extended from two smaller
 * ones, so that the time of a plan does not grow with them.
 * @throws ConfigError when the adapter's targets match nothing; Error when an op has no known sizes.
 */
export function planMemory(settings: PlanSettings): MemoryPlan {
  return memoryPlanner()(settings);
}

/**
 * {@link planMemory} for many settings of one model: what it finds out once it keeps. The backend and its kernels must
 * stay the same.
 * @param onDryRun called before each step that is run, which is what a plan takes its time for.
 */
export function memoryPlanner(onDryRun?: (settings: PlanSettings) => void): (settings: PlanSettings) => MemoryPlan {
  const made = new Map<string, MemoryPlan>();
  const run = (settings: PlanSettings): MemoryPlan => {
    const key = JSON.stringify({ ...settings, model: undefined });
    const found = made.get(key);
    if (found === undefined) onDryRun?.(settings);
    const plan = found ?? runDry(settings);
    made.set(key, plan);
    return plan;
  };
  return (settings) => {
    const { batch, seq, model } = settings;
    const most = mostDryTokens(model.vocabSize);
    if (batch * seq <= most) return run(settings);
    const rows = Math.floor(most / seq);
    const points =
      rows >= 2
        ? [
            { batch: rows >> 1, seq },
            { batch: rows, seq },
          ]
        : [
            { batch: 1, seq: most / 2 },
            { batch: 1, seq: most },
          ];
    const [small, large] = points.map((point) => run({ ...settings, ...point })) as [MemoryPlan, MemoryPlan];
    return extended(settings, small, large);
  };
}

/** Tokens of the largest batch that is run: enough for more than one chunk of logits, on webgpu too (headChunkRows). */
function mostDryTokens(vocabSize: number): number {
  return Math.min(2 ** 15, Math.max(2 ** 13, 2 ** Math.ceil(Math.log2(2 ** 25 / vocabSize))));
}

/** The line through two plans, at more tokens. */
function extended(settings: PlanSettings, small: MemoryPlan, large: MemoryPlan): MemoryPlan {
  const tokensOf = ({ batch, seq }: PlanSettings): number => batch * seq;
  const share = (tokensOf(settings) - tokensOf(large.settings)) / (tokensOf(large.settings) - tokensOf(small.settings));
  // What does not grow in every part (at another moment another part is the larger one) does not shrink either.
  const at = (a: number, b: number): number => b + Math.max(0, Math.round((b - a) * share));
  const parts: { -readonly [part in keyof MemoryParts]: number } = { ...large.parts };
  for (const part of Object.keys(parts) as (keyof MemoryParts)[])
    parts[part] = at(small.parts[part], large.parts[part]);
  return {
    ...large,
    settings,
    parts,
    total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
    keptActivations: at(small.keptActivations, large.keptActivations),
    largestTransient: at(small.largestTransient, large.largestTransient),
  };
}

/** Bytes that are on the device whatever the rows are. */
export interface StaticBytes {
  /** The trained parameters as float32. */
  readonly trained: number;
  /** What the optimiser keeps of them, on the device or in host memory. */
  readonly slots: number;
  /** Weights, adapter and the optimiser's state on the device: no step takes less. */
  readonly total: number;
}

/** From the shapes alone, without a step. @throws ConfigError when the adapter's targets match nothing. */
export function staticBytes({
  backend: target,
  model,
  adapter: options,
  quantization,
  optim,
  momentum,
}: Pick<PlanSettings, 'backend' | 'model' | 'adapter' | 'quantization' | 'optim' | 'momentum'>): StaticBytes {
  return withDryRun(target, (backend) => {
    const ofTrained = definitionOf(options.method).trainable?.(model, options);
    const decoder = outlineDecoder(backend, model, storedQuantization(model, quantization), ofTrained);
    try {
      const adapter = outlineAdapter(decoder, options);
      const trained = adapter.parameters.reduce((sum, { size }) => sum + 4 * size, 0);
      const { paged, rule } = optimizerOf({ optim, momentum });
      const slots = adapter.parameters.reduce((sum, { shape }) => sum + slotBytes(rule.slots, shape), 0);
      const total = backend.bytes + (paged ? 0 : slots);
      adapter.dispose();
      return { trained, slots, total };
    } finally {
      decoder.dispose();
    }
  });
}

function runDry(settings: PlanSettings): MemoryPlan {
  return withDryRun(
    settings.backend,
    (backend) => {
      const { model, adapter: options, batch, seq } = settings;
      const made: { dispose(): void }[] = [];
      const own = <T extends { dispose(): void }>(value: T): T => (made.push(value), value);
      try {
        const decoder = own(
          outlineDecoder(
            backend,
            model,
            storedQuantization(model, settings.quantization),
            definitionOf(options.method).trainable?.(model, options),
          ),
        );
        const largestWeight = largestWeightOf(decoder);
        backend.tag = TAGS.adapters;
        const adapter = own(outlineAdapter(decoder, options));
        const { paged, rule } = optimizerOf(settings);
        const slots = adapter.parameters.map((p) => slotBytes(rule.slots, p.shape));
        const allSlots = slots.reduce((sum, bytes) => sum + bytes, 0);
        backend.tag = TAGS.optimizer;
        const optimizer = own(paged ? pagedOutline(backend, slots) : new ResidentOptimizer(rule, adapter.parameters));
        // On webgpu gradients are copied to where they lie in one (ReplayedAccumulator in train/gradients), and stay there.
        const flat = flatLayout(adapter.parameters.map((p) => p.shape));
        backend.tag = TAGS.gradients;
        if (settings.backend === 'webgpu' && 4 * flat.size <= MOST_FLAT_BYTES)
          own(tf.zeros([Math.min(2, settings.accumulation) * flat.size]));
        const batches = Array.from({ length: Math.min(2, settings.accumulation) }, () => fullBatch(batch, seq));
        const objective = objectiveOf(settings);
        const lossOptions = (): ObjectiveContext => {
          backend.restart();
          return {
            dropoutSeed: 1,
            ...(settings.gradientCheckpointing ? { gradientCheckpointing: adapter.layerParameters } : {}),
          };
        };
        const inputs = objective.inputs(decoder, batches[0] as MicroBatch, { training: true, fewShapes: false });
        const loss = (): tf.Tensor => tf.mul(objectiveSums(objective, decoder, inputs, lossOptions()), 1);
        // Once for what stays, such as rotary tables; once to see what the forward pass keeps, and what is left in the
        // end.
        backend.tag = WEIGHT_TAGS.small;
        pullback(loss, adapter.parameters).dispose();
        backend.tag = TAGS.workspace;
        const recorded = pullback(loss, adapter.parameters);
        const kept = backend.alive(TAGS.workspace);
        const keptBytes = backend.bytesOf(TAGS.workspace);
        recorded.dispose();
        const { value, gradients } = valueAndGradients(loss, adapter.parameters);
        const left = backend.alive(TAGS.workspace);
        tf.dispose([value, gradients]);

        const tags = [
          ...kept.map((order) => [order, TAGS.activations] as const),
          ...left.map((order) => [order, TAGS.gradients] as const),
        ];
        backend.tagsByOrder = new Map(tags);
        const step = stepPeak(backend, decoder, adapter.parameters, batches, lossOptions, objective, optimizer);
        return {
          settings,
          parts: partsOf(step.peak),
          total: step.peak.bytes,
          keptActivations: keptBytes,
          headChunk: 4 * model.vocabSize * Math.min(batch * (seq - 1), headChunkRows(model.vocabSize)),
          largestTransient: step.largest,
          largestWeight,
          trainedBytes: adapter.parameters.reduce((sum, { size }) => sum + 4 * size, 0),
          slotBytes: allSlots,
          hostBytes: paged ? allSlots : 0,
        };
      } finally {
        for (const value of made.reverse()) value.dispose();
      }
    },
    settings.threads,
  );
}

function objectiveOf({ objective = 'token_mean' }: PlanSettings): Objective {
  return typeof objective === 'string' ? OBJECTIVES[objective] : objective;
}

/** As `trainStep` does it, which cannot be called where nothing may be waited for. */
function stepPeak(
  backend: DryRunBackend,
  decoder: Decoder,
  parameters: readonly tf.Variable[],
  batches: readonly MicroBatch[],
  lossOptions: () => ObjectiveContext,
  objective: Objective,
  optimizer: Stepper,
): { peak: DryPeak; largest: number } {
  backend.restart();
  backend.resetPeak();
  const { loss, metrics, gradients } = lossAndGradients(decoder, parameters, batches, lossOptions, objective);
  const norm = globalNorm(gradients);
  const scale = clipScale(norm, 1);
  void optimizer.step(gradients, 1, scale);
  tf.dispose([loss, gradients, norm, scale]);
  metrics?.dispose();
  return { peak: backend.peak, largest: backend.largest.bytes };
}

function partsOf({ byTag }: DryPeak): MemoryParts {
  const of = (tag: string): number => byTag.get(tag) ?? 0;
  return {
    quantizedWeights: of(WEIGHT_TAGS.quantized),
    denseWeights: of(WEIGHT_TAGS.dense),
    embeddingAndHead: of(WEIGHT_TAGS.embedding),
    smallTensors: of(WEIGHT_TAGS.small),
    adapters: of(TAGS.adapters),
    gradients: of(TAGS.gradients),
    optimizerState: of(TAGS.optimizer),
    activations: of(TAGS.activations),
    workspace: of(TAGS.workspace),
  };
}

/** Settings that change no size. */
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0 };

function optimizerOf({ optim, momentum = 0 }: Pick<PlanSettings, 'optim' | 'momentum'>): {
  readonly paged: boolean;
  readonly rule: UpdateRule;
} {
  const { paged, rule } = OPTIMIZERS[optim];
  return { paged, rule: rule({ ...ADAMW, momentum }) };
}

/** The part of an optimiser that takes memory. */
type Stepper = Pick<Optimizer, 'step' | 'dispose'>;

/** What PagedOptimizer has on the device, one page after another. */
function pagedOutline(backend: DryRunBackend, slots: readonly number[]): Stepper {
  return {
    step() {
      for (const page of pagesOf(slots)) backend.scratch(page.reduce((sum, i) => sum + (slots[i] as number), 0));
    },
    dispose: () => undefined,
  };
}

function fullBatch(batch: number, seq: number): MicroBatch {
  return {
    inputIds: new Int32Array(batch * seq),
    labels: new Int32Array(batch * seq),
    batch,
    seq,
    supervisedCount: batch * (seq - 1),
  };
}

function largestWeightOf(decoder: Decoder): { name: string; bytes: number } {
  const { embedding, linears, head } = decoder.weights;
  const { modules } = decoder.config.family;
  let largest = { name: `${modules.embedding}.weight`, bytes: 4 * embedding.size };
  const consider = (name: string, weight: FrozenWeight): void => {
    const bytes = 4 * (weight.kind === 'dense' ? weight.values : weight.packed).size;
    if (bytes > largest.bytes) largest = { name: `${name}.weight`, bytes };
  };
  for (const [name, { weight }] of linears) consider(name, weight);
  if (head !== undefined) consider(modules.head, head);
  return largest;
}
