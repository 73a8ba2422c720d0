import type { DriftMeasurement } from '../../bench/drift.js';
import type { GrowthLine, GrowthMeasurement } from '../../bench/growth.js';
import { deviceText, type BenchHeading } from './bench-report.js';
import { formatBytes } from '../../format.js';
import { formatTable, type Column } from './table.js';

/** Time within this share of a line counts as linear. */
const LINEAR = 0.1;
/** What adapters of rank 16 may add to a pass. */
const MOST_OVERHEAD = 0.15;

const right = (title: string): Column => ({ title, align: 'right' });

export function renderGrowth(report: BenchHeading & GrowthMeasurement): string {
  const { time, line, cpu_line: cpuLine, memory, adapters } = report;
  const times = formatTable(
    ['tokens', 'ms a step', 'processor ms', 'tokens/s', 'from the line'].map(right),
    time.map((t) => [
      String(t.tokens),
      t.step_ms.toFixed(1),
      t.cpu_ms?.toFixed(1) ?? '',
      t.tokens_per_second.toFixed(1),
      percent(t.deviation),
    ]),
  );
  const bytes = formatTable(
    ['length', 'planned', 'measured', 'measured to planned'].map(right),
    memory.map((m) => [
      String(m.length),
      formatBytes(m.planned_bytes),
      formatBytes(m.measured_bytes),
      percent(m.ratio - 1),
    ]),
  );
  const linear = [lineText('time', line), ...(cpuLine === null ? [] : [lineText('processor time', cpuLine)])].join(
    '\n',
  );
  const cost = `rank ${adapters.rank} adds ${percent(adapters.overhead)} to forward pass and gradient of the input: ${adapters.without_ms.toFixed(1)} to ${adapters.with_ms.toFixed(1)} ms${adapters.cpu_overhead === null ? '' : `; ${percent(adapters.cpu_overhead)} processor time`} (asked for: at most ${100 * MOST_OVERHEAD} %)`;
  return `${report.shape} on ${deviceText(report)}\n\n${times}${linear}\n\n${bytes}\n${cost}\n`;
}

export function renderDrift(report: BenchHeading & DriftMeasurement): string {
  const { tenths, drift, steps } = report;
  const shown = tenths.map((t) => [
    ...[
      String(t.step),
      t.step_ms.toFixed(1),
      t.paced.toFixed(2),
      t.cpu_ms?.toFixed(1) ?? '',
      String(t.tensors),
      formatBytes(t.tensor_bytes),
    ],
    ...[t.device_bytes, t.resident_bytes, t.heap_bytes].map((bytes) => (bytes === null ? '' : formatBytes(bytes))),
  ]);
  const change = [
    drift.step_ms,
    drift.paced,
    drift.cpu_ms,
    drift.tensors,
    drift.tensor_bytes,
    drift.device_bytes,
    drift.resident_bytes,
    drift.heap_bytes,
  ].map((value) => (value === null ? '' : percent(value)));
  const columns = [
    'to step',
    'ms',
    'in paces',
    'processor ms',
    'tensors',
    'in tensors',
    'device',
    'resident',
    'JavaScript heap',
  ].map(right);
  return `${report.shape} on ${deviceText(report)}, ${steps} steps, medians of each tenth; a pace is what fixed products after a step take\n\n${formatTable(columns, [...shown, ['drift', ...change]])}`;
}

function lineText(what: string, { fixed_ms: fixed, ms_per_token: slope, worst_deviation: worst }: GrowthLine): string {
  return `${what} is ${worst <= LINEAR ? 'linear' : 'not linear'}: within ${(100 * worst).toFixed(1)} % of ${fixed.toFixed(2)} ms + ${slope.toFixed(4)} ms a token (asked for: ${100 * LINEAR} %)`;
}

function percent(share: number): string {
  return `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(1)} %`;
}
