import type { ParameterCounts } from '../../adapters/counts.js';
import type { Dataset } from '../../data/dataset.js';
import { sharesOf, mixOf } from '../../data/mix.js';
import type { DatasetPart, DroppedRow } from '../../data/parts.js';
import { describeLeftOut } from '../../data/problems.js';
import type { DataSplits } from '../../data/split.js';
import type { ModelConfig } from '../../model/config.js';
import type { RunMemory } from '../../plan/plan-run.js';
import { formatBytes, formatCount } from '../../format.js';

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
  if (counts.quantized > 0)
    parts.push(`in 4 bits ${formatCount(counts.quantized)} (${formatBytes(counts.quantizedBytes)})`);
  return `parameters: ${parts.join(', ')}`;
}

/** `memory: at most 107 MiB planned, of the 4 GiB of the heap of WebAssembly`. */
export function describeMemory({ plan, limits }: RunMemory): string {
  const of =
    limits.memory === undefined
      ? '; the device does not tell how much it has'
      : `, of ${formatBytes(limits.memory.bytes)} (${limits.memory.what})`;
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

export function describeDataset(name: string, set: Dataset): string {
  const packed = set.examples.length < set.stats.rows ? ` packed into ${set.examples.length}` : '';
  const lines = [describeRows(name, set, packed)];
  if (set.parts.length > 1) {
    const mix = mixOf(set.parts);
    const shares = mix === undefined ? undefined : sharesOf(mix);
    set.parts.forEach((part, i) => {
      const share = shares?.[i];
      lines.push(describeRows(`  ${part.name}`, part, share === undefined ? '' : `, ${share} drawn an epoch`));
    });
  }
  return lines.join('\n');
}

function describeRows(
  name: string,
  { stats, dropped, format }: Pick<DatasetPart, 'stats' | 'dropped' | 'format'>,
  more: string,
): string {
  const { rows, tokens, supervisedTokens, truncated, longest } = stats;
  const parts = [`${rows} rows (${format})${more}`];
  if (tokens === undefined) parts.push('encoded as they are drawn');
  else
    parts.push(
      `${formatCount(tokens)} tokens`,
      `${formatCount(supervisedTokens ?? 0)} supervised`,
      `longest ${longest}`,
    );
  if (truncated !== undefined && truncated > 0) parts.push(`${truncated} truncated`);
  if (dropped.length > 0) parts.push(`${dropped.length} dropped`);
  return `${name}: ${parts.join(', ')}`;
}

/** The rows that were left out, the same reason once. */
export function describeDropped(dropped: readonly DroppedRow[]): string[] {
  return describeLeftOut(dropped).map((line) => `  dropped ${line}`);
}
