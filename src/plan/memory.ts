import { withDryRun } from '../../kernels/index.js';
import { definitionOf } from '../adapters/registry.js';
import { slotBytes } from '../train/optimizers/optimizer.js';
import { runDry } from './dry-step.js';
import { objectiveOf, optimizerOf, type MemoryParts, type MemoryPlan, type PlanSettings } from './settings.js';
import { outlineAdapter, outlineDecoder, storedQuantization } from './shape-only-decoder.js';

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
    const { name: objective } = objectiveOf(settings);
    const key = JSON.stringify({ ...settings, model: undefined, objective });
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
