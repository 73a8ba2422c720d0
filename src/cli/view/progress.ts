import { MultiBar, type SingleBar } from 'cli-progress';
import { visible } from '../../text.js';
import { formatCount, formatDuration, formatNumber } from '../../format.js';
import { terminalWidth } from './terminal.js';

/** What is known after an optimiser step. */
export interface StepReport {
  /** Counted from 1. */
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}

/** Shows how far a run is. Nothing but `log` is called before `start` or after `stop`. */
export interface ProgressReporter {
  /** `done` steps of `total` are behind us when a run goes on from a checkpoint. */
  start(total: number, done?: number): void;
  step(report: StepReport): void;
  /** A line of its own, above the bar where there is one. */
  log(line: string): void;
  stop(): void;
}

export type ProgressStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export interface ProgressOptions {
  /** Standard error unless given, so that results can be piped. */
  readonly stream?: ProgressStream;
  /** Steps between two lines where there is no terminal; 10 unless given. */
  readonly every?: number;
}

/** A bar on a terminal, plain lines elsewhere. */
export function createProgress(options: ProgressOptions = {}): ProgressReporter {
  const stream = options.stream ?? process.stderr;
  return stream.isTTY === true ? new BarProgress(stream) : new LineProgress(stream, options.every ?? 10);
}

class BarProgress implements ProgressReporter {
  private running: { readonly bars: MultiBar; readonly bar: SingleBar } | undefined;

  constructor(private readonly stream: ProgressStream) {}

  start(total: number, done = 0): void {
    // gracefulExit would take over SIGINT, which belongs to the run: it saves a checkpoint first. With linewrap the bar
    // is cut to the terminal's width here; without it the terminal would be told to, and stay so when this process is
    // killed.
    const bars = new MultiBar({
      stream: this.stream,
      format: (_options, { progress, value, total, eta }, shown: Shown) =>
        barLine(terminalWidth(this.stream), progress, `${value}/${total}`, shown, formatDuration(Number(eta))),
      gracefulExit: false,
      linewrap: true,
      hideCursor: false,
    });
    const bar = bars.create(total, done, { loss: '-', learningRate: '-', tokensPerSecond: '-' } satisfies Shown);
    this.running = { bars, bar };
    process.on('exit', this.leave);
  }

  step(report: StepReport): void {
    this.running?.bar.update(report.step, {
      loss: formatNumber(report.loss),
      learningRate: formatNumber(report.learningRate),
      tokensPerSecond: formatCount(report.tokensPerSecond),
    } satisfies Shown);
  }

  log(line: string): void {
    const text = `${visible(line)}\n`;
    if (this.running === undefined) this.stream.write(text);
    else this.running.bars.log(text);
  }

  stop(): void {
    // Lines are written with the next redraw: without this one the last of them would be lost.
    this.running?.bars.update();
    this.running?.bars.stop();
    this.running = undefined;
    process.off('exit', this.leave);
  }

  /** The shell's prompt gets a line of its own when the process ends in the middle. */
  private readonly leave = (): void => void this.stream.write('\n');
}

interface Shown {
  readonly loss: string;
  readonly learningRate: string;
  readonly tokensPerSecond: string;
}

const [MOST_BAR, LEAST_BAR] = [24, 8];

/**
 * A bar and what fits beside it into `width` columns; the learning rate is the first that is left out, then the speed.
 */
function barLine(
  width: number,
  share: number,
  steps: string,
  { loss, learningRate, tokensPerSecond }: Shown,
  eta: string,
): string {
  const parts = [
    [steps, 0],
    [`loss ${loss}`, 0],
    [`lr ${learningRate}`, 2],
    [`${tokensPerSecond} tokens/s`, 1],
    [`ETA ${eta}`, 0],
  ] as const;
  // The last column stays free: some terminals wrap what fills it.
  const room = (text: string): number => width - 2 - text.length;
  const texts = [2, 1, 0].map((most) =>
    parts
      .filter(([, level]) => level <= most)
      .map(([text]) => text)
      .join('  '),
  );
  const text = texts.find((each) => room(each) >= LEAST_BAR) ?? (texts.at(-1) as string);
  const size = Math.max(0, Math.min(MOST_BAR, room(text)));
  const full = Math.round(share * size);
  return `${'█'.repeat(full)}${'░'.repeat(size - full)} ${text}`.slice(0, width - 1);
}

class LineProgress implements ProgressReporter {
  private total = 0;
  private done = 0;
  private startedAt = 0;

  constructor(
    private readonly stream: ProgressStream,
    private readonly every: number,
  ) {}

  start(total: number, done = 0): void {
    this.total = total;
    this.done = done;
    this.startedAt = performance.now();
  }

  step(report: StepReport): void {
    const { step } = report;
    if (step !== this.done + 1 && step !== this.total && step % this.every !== 0) return;
    const secondsPerStep = (performance.now() - this.startedAt) / 1000 / Math.max(step - this.done, 1);
    const parts = [
      `step ${step}/${this.total}`,
      `loss ${formatNumber(report.loss)}`,
      `lr ${formatNumber(report.learningRate)}`,
      `${formatCount(report.tokensPerSecond)} tokens/s`,
    ];
    if (step < this.total) parts.push(`ETA ${formatDuration((this.total - step) * secondsPerStep)}`);
    this.log(parts.join('  '));
  }

  log(line: string): void {
    this.stream.write(`${visible(line)}\n`);
  }

  stop(): void {
    // Every line is already out.
  }
}
