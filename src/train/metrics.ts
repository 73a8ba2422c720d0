/** A logged optimiser step, as one line of metrics.jsonl. */
export interface StepMetrics {
  /** Counted from 1. */
  readonly step: number;
  /** Passes over the data so far, with fractions. */
  readonly epoch: number;
  /** Mean loss per supervised token since the last logged step, in nats. */
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
}

/** A validation, as one line of metrics.jsonl. */
export interface EvalMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly eval_loss: number;
  readonly perplexity: number;
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
  };
}

/** Sums over the steps of a run, and the means that are logged. */
export class Tally {
  private lossTotal = 0;
  private sinceLog = { loss: 0, steps: 0, tokens: 0 };
  /** Moments on the clock that a run that was never interrupted would have begun at. */
  private started = performance.now();
  private loggedAt = this.started;

  add({ step, epoch, learningRate, tokens, loss, gradNorm }: StepReport, memoryBytes: number): StepMetrics {
    this.lossTotal += loss;
    this.sinceLog.loss += loss;
    this.sinceLog.steps++;
    return {
      step,
      epoch: round(epoch, 4),
      loss: this.sinceLog.loss / this.sinceLog.steps,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      tokens,
      tokens_per_second: round((tokens - this.sinceLog.tokens) / Math.max(since(this.loggedAt), 1e-6), 1),
      memory_bytes: memoryBytes,
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

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function since(moment: number): number {
  return (performance.now() - moment) / 1000;
}
