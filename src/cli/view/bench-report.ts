import type { KernelResult } from '../../bench/kernels.js';
import type { StepMeasurement } from '../../bench/step.js';
import type { ShapeName } from '../../bench/shapes.js';
import { formatBytes } from '../../format.js';
import { formatFields, formatTable } from './table.js';

/** Who measured, and on what. */
export interface BenchHeading {
  readonly bench: string;
  readonly engine: 'lowrank';
  readonly version: string;
  readonly versions: { readonly node: string; readonly tfjs: string };
  readonly device: string;
  readonly description: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly threads: number;
  readonly shape: ShapeName;
  /** Of the WebGPU kernels. */
  readonly variant: string | null;
}

const DIM_NAMES = ['hidden', 'layers', 'heads', 'kv heads', 'ffn', 'vocab', 'batch', 'seq'] as const;

export function renderStep(report: BenchHeading & StepMeasurement): string {
  const ms = (value: number): string => `${value.toFixed(value < 100 ? 2 : 0)} ms`;
  const fields: [string, string][] = [
    ['shape', `${report.shape} (${report.dims.map((size, i) => `${DIM_NAMES[i] ?? ''} ${size}`).join(', ')})`],
    ['base, rank', `${report.quant === 'none' ? 'float32' : report.quant}, ${report.rank}`],
    ['device', deviceText(report)],
    [
      'kernels',
      `${report.kernels === 'auto' ? 'own' : 'TensorFlow.js ops throughout'}${report.variant === null || report.variant === 'auto' ? '' : ` (${report.variant})`}${report.gradient_checkpointing ? ', with gradient checkpointing' : ''}`,
    ],
  ];
  if (report.check !== null) {
    fields.push([
      'checked',
      `loss within ${report.check.loss_difference.toExponential(1)}, gradients within ${report.check.gradient_difference.toExponential(1)} of stock ops`,
    ]);
  }
  fields.push(
    [
      'step',
      `${ms(report.step_ms_median)} (${ms(report.step_ms_min)} to ${ms(report.step_ms_max)} over ${report.steps} steps)`,
    ],
    [
      'speed',
      `${report.tokens_per_second.toFixed(1)} tokens/s, ${report.gflops.toFixed(1)} GFLOP/s${report.peak_share === null ? '' : `, ${(100 * report.peak_share).toFixed(1)} % of peak`}`,
    ],
    ...(report.hardware_gflops === null
      ? []
      : [
          [
            'arithmetic',
            `${report.hardware_gflops.toFixed(1)} GFLOP/s of all that is computed, low-rank products and what is computed again among it`,
          ] as [string, string],
        ]),
    [
      'host',
      `${ms(report.host_ms_median)} until all is dispatched${report.cpu_ms_median === null ? '' : `; ${ms(report.cpu_ms_median)} of processor time a step`}`,
    ],
  );
  if (report.host_times !== null) {
    const { dispatches: count, eager_us: eager, replayed_us: replayed } = report.host_times;
    const us = (value: number): string => `${value.toFixed(1)} µs`;
    fields.push([
      'JavaScript',
      `${us(eager)} a dispatch of ${count}${replayed === null ? '' : `, ${us(replayed)} with the commands recorded before${report.replay === true ? ', as timed above' : ''}`}`,
    ]);
  }
  if (report.device_ms_median !== null)
    fields.push(['GPU', `${ms(report.device_ms_median)} busy of ${ms(report.device_span_ms_median ?? NaN)}`]);
  const dispatches = report.dispatches === null ? '' : `, ${report.dispatches} dispatches of own kernels`;
  fields.push(
    ['kernel runs', `${report.kernel_runs} a step${dispatches}`],
    ['loss', report.loss.toFixed(4)],
    ['memory', memoryText(report)],
  );
  const rows = report.slowest_kernels.map((k) => [k.name, String(k.runs), k.host_ms.toFixed(2)]);
  const table = formatTable(['kernel', { title: 'runs', align: 'right' }, { title: 'host ms', align: 'right' }], rows);
  return `${formatFields(fields)}\n${table}`;
}

export function renderKernels(report: BenchHeading & { readonly results: readonly KernelResult[] }): string {
  const against = report.results.some((r) => r.reference_ms !== null);
  const clocked = report.results.some((r) => r.device_ms !== null);
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  const varied = report.results.some((r) => r.variant !== null);
  const shared = report.results.some((r) => r.peak_share !== null);
  const rates = [right('GFLOP/s'), ...(shared ? [right('of peak')] : []), right('GB/s')];
  const columns = [
    'op',
    'pass',
    'weight',
    ...(varied ? ['variant'] : []),
    'size',
    right('ms'),
    ...(clocked ? [right('GPU ms')] : []),
    ...rates,
    right('error'),
  ];
  if (against) columns.push(right('stock ms'), right('faster'));
  const number = (value: number | null, digits: number): string => (value === null ? '' : value.toFixed(digits));
  const rows = report.results.map((r) => [
    ...[
      r.op,
      r.pass,
      r.weight === 'none' ? 'dense' : r.weight,
      ...(varied ? [r.variant ?? ''] : []),
      r.size,
      r.ms.toFixed(3),
    ],
    ...(clocked ? [number(r.device_ms, 3)] : []),
    ...[
      number(r.gflops, 1),
      ...(shared ? [r.peak_share === null ? '' : `${(100 * r.peak_share).toFixed(1)} %`] : []),
      number(r.gbps, 1),
      r.error.toExponential(0),
    ],
    ...(r.reference_ms === null ? [] : [r.reference_ms.toFixed(3), `${(r.reference_ms / r.ms).toFixed(1)}×`]),
  ]);
  return `${report.shape} on ${deviceText(report)}\n\n${formatTable(columns, rows)}`;
}

/** A line about the device. */
export function deviceText({ device, description, software, features }: BenchHeading): string {
  return `${device}, ${description}${software ? ' (emulated in software)' : ''}${features.length === 0 ? '' : `; has ${features.join(', ')}`}`;
}

function memoryText({
  peak_tensor_bytes: tensors,
  device_bytes: device,
  peak_bytes: processBytes,
}: StepMeasurement): string {
  const parts = [`${formatBytes(tensors)} in tensors at most`];
  if (device !== null) parts.push(`${formatBytes(device)} taken by the device`);
  if (processBytes !== null) parts.push(`${formatBytes(processBytes)} resident in the process at most`);
  return parts.join(', ');
}
