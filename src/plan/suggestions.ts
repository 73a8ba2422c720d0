import { optionsOfMethod } from '../adapters/options.js';
import { OPTIMIZERS } from '../train/optimizers/registry.js';
import type { DeviceLimits } from './limits.js';
import { memoryPlanner, staticBytes } from './memory.js';
import type { MemoryPlan, PlanSettings } from './settings.js';

/** Settings that differ from those asked for, under their names in a config, and the plan with them. */
export interface Remedy {
  readonly changes: Readonly<Record<string, string | number | boolean>>;
  readonly plan: MemoryPlan;
}

/** Rows shorter than this are not worth a suggestion. */
const SHORTEST = 16;
/** Lengths are suggested in steps of 8 tokens, of more where rows are longer than 64 of these. */
const [TOKENS, STEPS] = [8, 64];

export function fits(plan: MemoryPlan, { memory, tensor }: DeviceLimits): boolean {
  return plan.total <= (memory?.bytes ?? Infinity) && plan.largestTransient <= (tensor?.bytes ?? Infinity);
}

/** Settings with one thing changed, the mildest change that fits first; undefined where it cannot be changed. */
type Change = (settings: PlanSettings) => Iterable<{ changes: Remedy['changes']; settings: PlanSettings }>;

const gradientCheckpointing: Change = function* (settings) {
  if (!settings.gradientCheckpointing)
    yield {
      changes: { 'training.gradient_checkpointing': true },
      settings: { ...settings, gradientCheckpointing: true },
    };
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
  if (
    optionsOfMethod(settings.adapter.method).floatBaseOnly === undefined &&
    settings.quantization === undefined &&
    settings.model.quantization === undefined
  ) {
    yield {
      changes: { 'quantization.load_in_4bit': true },
      settings: { ...settings, quantization: { quantType: 'nf4', doubleQuant: true, blockSize: 64 } },
    };
  }
};

const paged: Change = function* (settings) {
  const { pagedForm: optim } = OPTIMIZERS[settings.optim];
  if (optim !== undefined) yield { changes: { 'training.optim': optim }, settings: { ...settings, optim } };
};

const CHANGES: readonly Change[] = [gradientCheckpointing, microBatch, fourBits, paged];

/**
 * What would make a run fit that does not: each single change that is enough, or, where none is, as many together as it
 * takes. Every one is planned. Empty when nothing helps.
 * @param plan keeps what it has planned: that which planned the settings asked for spares a second time.
 */
export function remedies(asked: PlanSettings, limits: DeviceLimits, plan = memoryPlanner()): Remedy[] {
  const search = new Search(limits, plan);
  const single = [
    ...CHANGES.flatMap((change) => search.firstFit(change, asked, {}) ?? []),
    ...(search.shorter(asked, {}) ?? []),
  ];
  if (single.length > 0) return single;
  if (search.isHopeless(asked)) return [];
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
  private readonly leastTotals = new Map<string, number>();

  constructor(
    private readonly limits: DeviceLimits,
    private readonly plan: (settings: PlanSettings) => MemoryPlan,
  ) {}

  /** Whether all changes together are not enough; checkpointing does not always take less. */
  isHopeless(asked: PlanSettings): boolean {
    const [least] = CHANGES.reduce(([settings], change) => strongest(change, settings, {}), [asked, {}] as [
      PlanSettings,
      Remedy['changes'],
    ]);
    const short = { ...least, seq: Math.min(least.seq, SHORTEST) };
    return !this.fits(short) && !this.fits({ ...short, gradientCheckpointing: asked.gradientCheckpointing });
  }

  /** The mildest form of a change that fits: each takes less than the one before. */
  firstFit(change: Change, from: PlanSettings, before: Remedy['changes']): Remedy[] | undefined {
    const candidates = [...change(from)];
    let [low, high] = [0, candidates.length - 1];
    const last = candidates[high];
    if (last === undefined || !this.mayFit(from, last.settings)) return undefined;
    // Often the first is enough already.
    if (this.fits((candidates[0] as typeof last).settings)) high = 0;
    else if (high === 0 || !this.fits(last.settings)) return undefined;
    else low = 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.fits((candidates[middle] as typeof last).settings)) high = middle;
      else low = middle + 1;
    }
    const { changes, settings } = candidates[high] as typeof last;
    return [{ changes: { ...before, ...changes }, plan: this.plan(settings) }];
  }

  /** The longest rows that fit, in steps of at most a 64th of those asked for. */
  shorter(from: PlanSettings, before: Remedy['changes']): Remedy[] | undefined {
    if (this.isTooLarge(from)) return undefined;
    const step = stepOf(from.seq);
    const planOf = (steps: number): MemoryPlan => this.plan({ ...from, seq: step * steps });
    // `low` fits or is nothing, `high` does not.
    let [low, high] = [0, Math.ceil(from.seq / step)];
    const first = step === TOKENS ? SHORTEST / TOKENS : 1;
    let least: Point = { steps: 0, total: fixedBytes(this.plan(from)) };
    let most: Point = { steps: from.seq / step, total: this.plan(from).total };
    for (let turn = 0; high - Math.max(low, first - 1) > 1; turn++) {
      // Memory grows nearly in proportion: the last length below the line between the two. Every third time the middle,
      // where that is of no use.
      const share =
        turn % 3 === 2 ? 0.5 : ((this.limits.memory?.bytes ?? NaN) - least.total) / (most.total - least.total);
      const at = share > 0 && share < 1 ? least.steps + share * (most.steps - least.steps) : (low + high) / 2;
      const between = Math.min(high - 1, Math.max(low + 1, first, Math.floor(at)));
      const plan = planOf(between);
      if (fits(plan, this.limits)) {
        [low, least] = [between, { steps: between, total: plan.total }];
      } else {
        [high, most] = [between, { steps: between, total: plan.total }];
      }
    }
    if (low > 0) return [{ changes: { ...before, 'data.max_length': step * low }, plan: planOf(low) }];
    return step === TOKENS ? undefined : this.shorter({ ...from, seq: step }, before);
  }

  /**
   * False where a change is not enough even if what it makes smaller were nothing at the moment that is the fullest
   * without it.
   */
  private mayFit(from: PlanSettings, to: PlanSettings): boolean {
    const { total, parts } = this.plan(from);
    const saved =
      (to.optim === from.optim ? 0 : parts.optimizerState) +
      (to.quantization === from.quantization ? 0 : parts.denseWeights);
    return saved === 0 || total - saved <= (this.limits.memory?.bytes ?? Infinity);
  }

  /** Whether weights, adapter and optimiser alone take more than there is: a step need not be run to know it. */
  private isTooLarge(settings: PlanSettings): boolean {
    if (this.limits.memory === undefined) return false;
    const { adapter, quantization, optim } = settings;
    const key = JSON.stringify([adapter, quantization, optim]);
    const total = this.leastTotals.get(key) ?? staticBytes(settings).total;
    this.leastTotals.set(key, total);
    return total > this.limits.memory.bytes;
  }

  private fits(settings: PlanSettings): boolean {
    return !this.isTooLarge(settings) && fits(this.plan(settings), this.limits);
  }
}

/** A length in steps, and the bytes at it. */
interface Point {
  readonly steps: number;
  readonly total: number;
}

/** Tokens of a step: 8 times a power of 2. */
function stepOf(seq: number): number {
  return TOKENS * 2 ** Math.max(0, Math.ceil(Math.log2(seq / (TOKENS * STEPS))));
}

/** What a plan takes whatever the length of the rows. */
function fixedBytes({ total, parts }: MemoryPlan): number {
  return total - parts.activations - parts.workspace;
}
