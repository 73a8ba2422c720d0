import { availableParallelism, totalmem } from 'node:os';
import { nodeHost } from '../../node.js';
import { VERSION } from '../../version.js';
import { examine, type DeviceReport, type DoctorReport } from '../../device/examine.js';
import { formatBytes } from '../../format.js';
import { formatFields } from '../view/table.js';
import { print, terminalWidth } from '../view/terminal.js';

/** Limits that decide what fits; `--json` has them all. */
const SHOWN_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxStorageBuffersPerShaderStage',
];

const INDENT = '  ';

/** Prints what each device would give. */
export async function runDoctor({ json }: { readonly json?: true }): Promise<void> {
  const machine = {
    version: VERSION,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpus: availableParallelism(),
    memory: totalmem(),
  };
  const report = await examine(nodeHost);
  print(json === true ? `${JSON.stringify({ ...machine, ...report })}\n` : renderReport(machine, report));
}

interface Machine {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly cpus: number;
  readonly memory: number;
}

function renderReport({ version, node, platform, cpus, memory }: Machine, { devices, auto }: DoctorReport): string {
  const machine = `lowrank ${version}, Node ${node}, ${platform}, ${cpus} processors, ${formatBytes(memory)} memory\n`;
  const choice = `\nauto takes ${auto.device}: ${auto.reason}\n`;
  return [machine, ...devices.map((report) => `\n${renderDevice(report)}`), choice].join('');
}

function renderDevice(report: DeviceReport): string {
  const fields: [string, string][] = [];
  if (report.available)
    fields.push(['runs on', `${report.description ?? ''}${report.software === true ? ' (emulated in software)' : ''}`]);
  if (report.features !== undefined && report.features.length > 0)
    fields.push(['features', report.features.join(', ')]);
  if (report.variants !== undefined) fields.push(['variants', report.variants.join(', ')]);
  for (const { componentType, resultComponentType, M, N, K } of report.subgroupMatrices ?? []) {
    fields.push(['subgroup matrix', `${M}×${N}×${K}, ${componentType} into ${resultComponentType}`]);
  }
  if (report.matrixUnit !== undefined) fields.push(['subgroup-matrix', report.matrixUnit]);
  if (report.subgroupSizes !== undefined)
    fields.push(['subgroup sizes', [...new Set(report.subgroupSizes)].join(' to ')]);
  for (const limit of SHOWN_LIMITS) {
    const value = report.limits?.[limit];
    if (value !== undefined) fields.push([limit, /Size$/.test(limit) ? formatBytes(value) : String(value)]);
  }
  if (report.faster !== undefined) fields.push(['faster with', report.faster]);
  if (report.missing !== undefined) fields.push(['missing', report.missing]);
  if (report.fix !== undefined) fields.push(['how to fix it', report.fix]);
  if (report.available)
    fields.push([
      'own kernels',
      report.handWritten.length === 0
        ? 'none: TensorFlow.js ops throughout'
        : `${report.handWritten.length} (--json lists them)`,
    ]);
  const lines = formatFields(fields, terminalWidth() - INDENT.length).replace(/^(?=.)/gm, INDENT);
  return `${report.device}: ${report.available ? 'available' : 'not available'}\n${lines}`;
}
