import type { ParameterCounts } from '../adapters/counts.js';
import type { DroppedRow, Dataset } from '../data/dataset.js';
import type { DataSplits } from '../data/split.js';
import type { ModelConfig } from '../model/config.js';
import type { RunMemory } from '../plan/run.js';
import { formatBytes, formatCount } from './format.js';

const MAX_DROPPED = 10;

/** `llama, 2 layers, hidden 128, 8 heads (4 for keys and values), vocabulary 2048, context 512`. */
export function describeModel(model: ModelConfig): string {
  const { family, numLayers, hiddenSize, numHeads, numKvHeads, vocabSize, maxPositions } = model;
  const heads = numKvHeads === numHeads ? `${numHeads} heads` : `${numHeads} heads (${numKvHeads} for keys and values)`;
  const quantized = model.quantization === undefined ? '' : ', stored in 4 bits';
  return `${family.modelType}, ${numLayers} layers, hidden ${hiddenSize}, ${heads}, vocabulary ${vocabSize}, context ${maxPositions}${quantized}`;
}

/** Trainable, all and quantised parameters with their bytes, on one line. */
export function describeCounts(counts: ParameterCounts): string {
  const percent = ((100 * counts.trainable) / counts.total).toFixed(2);
  const parts = [
    `trainable ${formatCount(counts.trainable)} (${formatBytes(counts.trainableBytes)}, ${percent}%)`,
    `total ${formatCount(counts.total)} (${formatBytes(counts.totalBytes)})`,
  ];
  if (counts.quantized > 0) parts.push(`in 4 bits ${formatCount(counts.quantized)} (${formatBytes(counts.quantizedBytes)})`);
  return `parameters: ${parts.join(', ')}`;
}

/** `memory: at most 107 MiB planned, of the 4 GiB of the heap of WebAssembly`. */
export function describeMemory({ plan, limits }: RunMemory): string {
  const of = limits.memory === undefined ? '; the device does not tell how much it has' : `, of ${formatBytes(limits.memory.bytes)} (${limits.memory.what})`;
  return `memory: at most ${formatBytes(plan.total)} planned${of}`;
}

/** What became of the rows of each part, and which were left out. */
export function describeData(data: DataSplits): string {
  const lines = (['train', 'validation', 'test'] as const).flatMap((part) => {
    const set = data[part];
    return set === undefined ? [] : [describeDataset(part, set), ...describeDropped(set.dropped)];
  });
  return lines.join('\n');
}

export function describeDataset(name: string, { stats, dropped, format, examples }: Dataset): string {
  const parts = [
    `${stats.rows} rows (${format})`,
    `${formatCount(stats.tokens)} tokens`,
    `${formatCount(stats.supervisedTokens)} supervised`,
    `longest ${stats.longest}`,
  ];
  if (examples.length < stats.rows) parts.push(`packed into ${examples.length}`);
  if (stats.truncated > 0) parts.push(`${stats.truncated} truncated`);
  if (dropped.length > 0) parts.push(`${dropped.length} dropped`);
  return `${name}: ${parts.join(', ')}`;
}

/** The first rows that were left out, and how many more there are. */
export function describeDropped(dropped: readonly DroppedRow[]): string[] {
  const lines = dropped.slice(0, MAX_DROPPED).map(({ source, row, reason }) => `  dropped ${source}, row ${row}: ${reason}`);
  if (dropped.length > MAX_DROPPED) lines.push(`  … and ${dropped.length - MAX_DROPPED} more`);
  return lines;
}
