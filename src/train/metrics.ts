/** A logged optimiser step, as one line of metrics.jsonl. */
export interface StepMetrics {
  /** Counted from 1. */
  readonly step: number;
  /** Passes over the data so far, with fractions. */
  readonly epoch: number;
  /** Mean loss per item of the objective since the last logged step: in nats per supervised token, unless it is another. */
  readonly loss: number;
  /** Rate this step was made with. */
  readonly learning_rate: number;
  /** Global norm of the gradients before clipping. */
  readonly grad_norm: number;
  /** Tokens seen so far, padding left out. */
  readonly tokens: number;
  readonly tokens_per_second: number;
  /** Bytes of tensors on the device between two steps. */
  readonly memory_bytes: number;
  /** Further numbers of the objective, by name, means since the last logged step; absent where it has none. */
  readonly metrics?: NamedValues;
}

/** Numbers of an objective by the names of its metrics. */
export type NamedValues = Readonly<Record<string, number>>;

/** A validation, as one line of metrics.jsonl. */
export interface EvalMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly eval_loss: number;
  /** exp(eval_loss); absent where the objective's loss is no cross-entropy. */
  readonly perplexity?: number;
  /** Further numbers of the objective, by name; absent where it has none. */
  readonly metrics?: NamedValues;
}

/** What a step told of itself. */
export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly learningRate: number;
  /** Seen so far. */
  readonly tokens: number;
  readonly loss: number;
  readonly gradNorm: number;
  readonly metrics?: NamedValues;
}

/** Sums of a {@link Tally}. */
export interface TallyState {
  /** Over all steps. */
  readonly lossTotal: number;
  /** Spent on training, validations included. */
  readonly seconds: number;
  /** Since the last logged step. */
  readonly sinceLog: {
    readonly loss: number;
    readonly steps: number;
    readonly tokens: number;
    readonly seconds: number;
    /** Sums of the objective's metrics, where it has any. */
    readonly metrics?: NamedValues;
  };
}

/** Sums over the steps of a run, and the means that are logged. */
export class Tally {
  private lossTotal = 0;
  private sinceLog: Omit<TallyState['sinceLog'], 'seconds'> = { loss: 0, steps: 0, tokens: 0 };
  /** Moments on the clock that a run that was never interrupted would have begun at. */
  private started = performance.now();
  private loggedAt = this.started;

  add({ step, epoch, learningRate, tokens, loss, gradNorm, metrics }: StepReport, memoryBytes: number): StepMetrics {
    this.lossTotal += loss;
    const before = this.sinceLog;
    this.sinceLog = { ...before, loss: before.loss + loss, steps: before.steps + 1 };
    const { steps } = this.sinceLog;
    if (metrics !== undefined)
      this.sinceLog = {
        ...this.sinceLog,
        metrics: mapValues(metrics, (value, name) => (before.metrics?.[name] ?? 0) + value),
      };
    const { metrics: sums } = this.sinceLog;
    return {
      step,
      epoch: round(epoch, 4),
      loss: this.sinceLog.loss / steps,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      tokens,
      tokens_per_second: round((tokens - this.sinceLog.tokens) / Math.max(since(this.loggedAt), 1e-6), 1),
      memory_bytes: memoryBytes,
      ...(sums === undefined ? {} : { metrics: mapValues(sums, (sum) => sum / steps) }),
    };
  }

  /** What comes next belongs to the next line of the log. */
  logged(tokens: number): void {
    this.sinceLog = { loss: 0, steps: 0, tokens };
    this.loggedAt = performance.now();
  }

  /** Leaves the time of some work out of the rate of tokens. */
  async pausing<T>(work: () => Promise<T>): Promise<T> {
    const before = performance.now();
    const result = await work();
    this.loggedAt += performance.now() - before;
    return result;
  }

  meanLoss(steps: number): number {
    return this.lossTotal / Math.max(1, steps);
  }

  get seconds(): number {
    return since(this.started);
  }

  state(): TallyState {
    return {
      lossTotal: this.lossTotal,
      seconds: this.seconds,
      sinceLog: { ...this.sinceLog, seconds: since(this.loggedAt) },
    };
  }

  restore({ lossTotal, seconds, sinceLog: { seconds: sinceLogged, ...sums } }: TallyState): void {
    this.lossTotal = lossTotal;
    this.sinceLog = sums;
    this.started = performance.now() - 1000 * seconds;
    this.loggedAt = performance.now() - 1000 * sinceLogged;
  }
}

/** Values by their names. */
export function namedValues(names: readonly string[], values: ArrayLike<number>): NamedValues {
  return Object.fromEntries(names.map((name, i) => [name, values[i] as number]));
}

function mapValues(values: NamedValues, change: (value: number, name: string) => number): NamedValues {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value, name)]));
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function since(moment: number): number {
  return (performance.now() - moment) / 1000;
}
