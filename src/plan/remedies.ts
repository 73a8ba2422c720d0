import type { DeviceLimits } from './limits.js';
import { planMemory, type MemoryPlan, type PlanSettings } from './memory.js';

/** Settings that differ from those asked for, under their names in a config, and the plan with them. */
export interface Remedy {
  readonly changes: Readonly<Record<string, string | number | boolean>>;
  readonly plan: MemoryPlan;
}

/** Rows shorter than this are not worth a suggestion. */
const SHORTEST = 16;

export function fits(plan: MemoryPlan, { memory, tensor }: DeviceLimits): boolean {
  return plan.total <= (memory?.bytes ?? Infinity) && plan.largestTransient <= (tensor?.bytes ?? Infinity);
}

/** Settings with one thing changed, the mildest change that fits first; undefined where it cannot be changed. */
type Change = (settings: PlanSettings) => Iterable<{ changes: Remedy['changes']; settings: PlanSettings }>;

const checkpointing: Change = function* (settings) {
  if (!settings.checkpointing) yield { changes: { 'training.gradient_checkpointing': true }, settings: { ...settings, checkpointing: true } };
};

/** Smaller micro-batches, more of them: the examples of an optimiser step stay as many. */
const microBatch: Change = function* (settings) {
  const examples = settings.batch * settings.accumulation;
  for (let batch = settings.batch - 1; batch >= 1; batch--) {
    if (examples % batch !== 0) continue;
    const accumulation = examples / batch;
    yield {
      changes: { 'training.per_device_train_batch_size': batch, 'training.gradient_accumulation_steps': accumulation },
      settings: { ...settings, batch, accumulation },
    };
  }
};

const fourBits: Change = function* (settings) {
  // Codes of 4 bits take no gradient.
  if (settings.adapter.method !== 'full' && settings.quantization === undefined && settings.model.quantization === undefined) {
    yield { changes: { 'quantization.load_in_4bit': true }, settings: { ...settings, quantization: { quantType: 'nf4', doubleQuant: true, blockSize: 64 } } };
  }
};

const paged: Change = function* (settings) {
  if (settings.optim === 'adamw') yield { changes: { 'training.optim': 'paged_adamw' }, settings: { ...settings, optim: 'paged_adamw' } };
};

const CHANGES: readonly Change[] = [checkpointing, microBatch, fourBits, paged];

/**
 * What would make a run fit that does not: each single change that is enough, or, where none is, as many together as it takes.
 * Every one is planned. Empty when nothing helps.
 */
export function remedies(asked: PlanSettings, limits: DeviceLimits): Remedy[] {
  const single = [...CHANGES.flatMap((change) => firstFit(change, asked, {}, limits) ?? []), ...(shorter(asked, {}, limits) ?? [])];
  if (single.length > 0) return single;
  let [settings, changes] = [asked, {} as Remedy['changes']];
  for (const change of CHANGES) {
    const found = firstFit(change, settings, changes, limits);
    if (found !== undefined) return found;
    // The strongest form of each change stays while the next is tried.
    for (const candidate of change(settings)) [settings, changes] = [candidate.settings, { ...changes, ...candidate.changes }];
    const cut = shorter(settings, changes, limits);
    if (cut !== undefined) return cut;
  }
  return [];
}

function firstFit(change: Change, from: PlanSettings, before: Remedy['changes'], limits: DeviceLimits): Remedy[] | undefined {
  for (const { changes, settings } of change(from)) {
    const plan = planMemory(settings);
    if (fits(plan, limits)) return [{ changes: { ...before, ...changes }, plan }];
  }
  return undefined;
}

/** The longest rows, in steps of 8 tokens, that fit. */
function shorter(from: PlanSettings, before: Remedy['changes'], limits: DeviceLimits): Remedy[] | undefined {
  const planOf = (seq: number): MemoryPlan => planMemory({ ...from, seq });
  let [low, high] = [Math.ceil(SHORTEST / 8), Math.ceil(from.seq / 8) - 1];
  if (high < low || !fits(planOf(8 * low), limits)) return undefined;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(planOf(8 * middle), limits)) low = middle;
    else high = middle - 1;
  }
  return [{ changes: { ...before, 'data.max_length': 8 * low }, plan: planOf(8 * low) }];
}
