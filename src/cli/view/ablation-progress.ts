import cliTruncate from 'cli-truncate';
import stringWidth from 'string-width';
import type { AblationProgress, RunChange, RunProgress } from '../../ablation/progress.js';
import { describeSettings, type AblationRun } from '../../ablation/runs.js';
import { visible } from '../../text.js';
import { formatCount, formatDuration, formatNumber } from '../../format.js';
import type { ProgressStream } from './progress.js';
import { formatTable } from './table.js';
import { terminalWidth } from './terminal.js';

interface Row extends RunProgress {
  readonly run: AblationRun;
}

/** One table that is drawn anew on a terminal, plain lines elsewhere. */
export function createAblationProgress(
  runs: readonly AblationRun[],
  estimated: () => number | undefined,
  stream: ProgressStream = process.stderr,
): AblationProgress {
  const rows = new Map(runs.map((run): [string, Row] => [run.id, { run, state: 'waits', step: 0, totalSteps: 0 }]));
  return stream.isTTY === true
    ? new LiveTable(rows, estimated, stream as NodeJS.WriteStream)
    : new PlainLines(rows, stream);
}

class PlainLines implements AblationProgress {
  constructor(
    private readonly rows: ReadonlyMap<string, Row>,
    private readonly stream: ProgressStream,
  ) {}

  set({ id }: AblationRun, change: RunChange): void {
    const row = this.rows.get(id) as Row;
    const before = row.state;
    Object.assign(row, change);
    const at = [...this.rows.keys()].indexOf(id) + 1;
    const title = `run ${at}/${this.rows.size} ${id}`;
    if (change.state !== undefined && change.state !== before && before !== 'waits' && row.state !== 'waits')
      this.log(`${title}: ${describe(row)}`);
    else if (row.state === 'runs' && before === 'waits')
      this.log(`${title}: begins at step ${row.step} of ${row.totalSteps}`);
    else if (change.validation !== undefined && row.state === 'runs')
      this.log(`${title}: step ${row.step}/${row.totalSteps}  validation loss ${formatNumber(change.validation)}`);
  }

  log(line: string): void {
    this.stream.write(`${visible(line)}\n`);
  }

  stop(): void {
    // Every line is already out.
  }
}

const REDRAW_MS = 100;

class LiveTable implements AblationProgress {
  private drawn = 0;
  private drawnAt = 0;
  private readonly started = performance.now();

  constructor(
    private readonly rows: ReadonlyMap<string, Row>,
    private readonly estimated: () => number | undefined,
    private readonly stream: NodeJS.WriteStream,
  ) {}

  set({ id }: AblationRun, change: RunChange): void {
    Object.assign(this.rows.get(id) as Row, change);
    if (change.state !== undefined || performance.now() - this.drawnAt >= REDRAW_MS) this.draw();
  }

  log(line: string): void {
    this.erase();
    this.stream.write(`${visible(line)}\n`);
    this.draw();
  }

  stop(): void {
    // What is on the terminal stays there.
    if (this.drawn > 0) this.draw();
    this.drawn = 0;
  }

  private erase(): void {
    if (this.drawn > 0) this.stream.write(`\u001b[${this.drawn}A\u001b[0J`);
    this.drawn = 0;
  }

  private draw(): void {
    const lines = this.lines();
    this.erase();
    this.stream.write(lines.map((line) => `${cliTruncate(line, terminalWidth(this.stream) - 1)}\n`).join(''));
    this.drawn = lines.length;
    this.drawnAt = performance.now();
  }

  private lines(): string[] {
    const all = [...this.rows.values()];
    const done = all.filter(({ state }) => state === 'done' || state === 'failed').length;
    const room = Math.max(3, (this.stream.rows || 24) - 5);
    // Around the run that is on.
    const at = Math.max(
      0,
      all.findIndex(({ state }) => state === 'runs'),
    );
    const from = Math.max(0, Math.min(at - Math.floor(room / 2), all.length - room));
    const cells = all
      .slice(from, from + room)
      .map((row) => [
        describeSettings(row.run.settings) || 'base',
        String(row.run.seed),
        row.state,
        row.totalSteps === 0 ? '' : `${row.step}/${row.totalSteps}`,
        row.loss === undefined ? '' : formatNumber(row.loss),
        row.validation === undefined ? '' : formatNumber(row.validation),
        row.tokensPerSecond === undefined ? '' : formatCount(row.tokensPerSecond),
      ]);
    const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
    const columns = [
      'run',
      right('seed'),
      'state',
      right('step'),
      right('loss'),
      right('validation'),
      right('tokens/s'),
    ];
    // Settings that are too long for the terminal are cut: a run has one line.
    const others = stringWidth(
      formatTable(
        columns,
        cells.map(([, ...rest]) => ['', ...rest]),
        Infinity,
      ).split('\n', 1)[0] as string,
    );
    const longest = Math.max('run'.length, terminalWidth(this.stream) - 1 - (others - 'run'.length));
    const table = formatTable(
      columns,
      cells.map(([run, ...rest]) => [cliTruncate(run as string, longest, { position: 'middle' }), ...rest]),
      Infinity,
    );
    const total = this.estimated();
    const elapsed = (performance.now() - this.started) / 1000;
    const time = `${formatDuration(elapsed)}${total === undefined ? '' : ` of about ${formatDuration(Math.max(total, elapsed))}`}`;
    return [...table.trimEnd().split('\n'), `${done} of ${all.length} runs, ${time}`];
  }
}

function describe({ state, validation, tokensPerSecond }: Row): string {
  if (state !== 'done') return state;
  const parts = [
    ...(validation === undefined ? [] : [`validation loss ${formatNumber(validation)}`]),
    ...(tokensPerSecond === undefined ? [] : [`${formatCount(tokensPerSecond)} tokens/s`]),
  ];
  return `done${parts.length === 0 ? '' : `, ${parts.join(', ')}`}`;
}
