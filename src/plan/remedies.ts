import type { DeviceLimits } from './limits.js';
import { memoryPlanner, type MemoryPlan, type PlanSettings } from './memory.js';

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
  const search = new Search(limits);
  if (search.isHopeless(asked)) return [];
  const single = [...CHANGES.flatMap((change) => search.firstFit(change, asked, {}) ?? []), ...(search.shorter(asked, {}) ?? [])];
  if (single.length > 0) return single;
  let [settings, changes] = [asked, {} as Remedy['changes']];
  for (const change of CHANGES) {
    const found = search.firstFit(change, settings, changes);
    if (found !== undefined) return found;
    [settings, changes] = strongest(change, settings, changes);
    const cut = search.shorter(settings, changes);
    if (cut !== undefined) return cut;
  }
  return [];
}

/** The settings with the strongest form of a change, if it can be made. */
function strongest(change: Change, from: PlanSettings, before: Remedy['changes']): [PlanSettings, Remedy['changes']] {
  const last = [...change(from)].at(-1);
  return last === undefined ? [from, before] : [last.settings, { ...before, ...last.changes }];
}

class Search {
  private readonly plan = memoryPlanner();

  constructor(private readonly limits: DeviceLimits) {}

  /** Whether all changes together are not enough; checkpointing does not always take less. */
  isHopeless(asked: PlanSettings): boolean {
    const [least] = CHANGES.reduce(([settings], change) => strongest(change, settings, {}), [asked, {}] as [PlanSettings, Remedy['changes']]);
    const short = { ...least, seq: Math.min(least.seq, SHORTEST) };
    return !this.fits(short) && !this.fits({ ...short, checkpointing: asked.checkpointing });
  }

  /** The mildest form of a change that fits: each takes less than the one before. */
  firstFit(change: Change, from: PlanSettings, before: Remedy['changes']): Remedy[] | undefined {
    const candidates = [...change(from)];
    let [low, high] = [0, candidates.length - 1];
    const last = candidates[high];
    if (last === undefined || !this.fits(last.settings)) return undefined;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.fits((candidates[middle] as typeof last).settings)) high = middle;
      else low = middle + 1;
    }
    const { changes, settings } = candidates[high] as typeof last;
    return [{ changes: { ...before, ...changes }, plan: this.plan(settings) }];
  }

  /** The longest rows, in steps of 8 tokens, that fit. */
  shorter(from: PlanSettings, before: Remedy['changes']): Remedy[] | undefined {
    const planOf = (steps: number): MemoryPlan => this.plan({ ...from, seq: 8 * steps });
    // `low` fits, `high` does not.
    let [low, high] = [Math.ceil(SHORTEST / 8), Math.ceil(from.seq / 8)];
    if (high <= low || !this.fits({ ...from, seq: 8 * low })) return undefined;
    for (let turn = 0; high - low > 1; turn++) {
      // Memory grows nearly in proportion: a guess by the line between the two, and every third time the middle, where that is of no use.
      const [least, most] = [planOf(low).total, planOf(high).total];
      const guess = turn % 3 === 2 ? 0.5 : ((this.limits.memory?.bytes ?? NaN) - least) / (most - least);
      const next = Math.round(low + (high - low) * (guess > 0 && guess < 1 ? guess : 0.5));
      const between = Math.min(high - 1, Math.max(low + 1, next));
      if (fits(planOf(between), this.limits)) low = between;
      else high = between;
      // The guess is next to the answer: one more step on its other side ends the search.
      const beside = low === between ? low + 1 : high - 1;
      if (beside > low && beside < high) {
        if (fits(planOf(beside), this.limits)) low = beside;
        else high = beside;
      }
    }
    return [{ changes: { ...before, 'data.max_length': 8 * low }, plan: planOf(low) }];
  }

  private fits(settings: PlanSettings): boolean {
    return fits(this.plan(settings), this.limits);
  }
}
