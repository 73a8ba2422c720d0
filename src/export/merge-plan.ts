import type { FloatDtype } from '../../kernels/types.js';
import type { Checkpoint } from '../io/weights-file.js';
import { mismatches, type SafetensorsDtype } from '../io/safetensors-header.js';
import { toFloat32, type TensorBytes } from '../io/safetensors.js';
import { transposed } from '../model/stored.js';
import { quantizedParts, quantizedShape, readQuantized } from '../quant/bitsandbytes.js';
import { dequantize4bit } from '../quant/quantize.js';
import type { TableRows } from './adapter-tensors.js';
import { encodeFloats } from './floats.js';
import type { Fusion } from './weight-merge.js';

/** What is known of the base model besides its tensors. */
export interface MergeBase {
  /** Whether linear layers store `[in, out]` (transformers' Conv1D). */
  readonly isConv1D: boolean;
  /** Paths of embedding and output layer where they are one table in this model. */
  readonly tied: { readonly embedding: string; readonly head: string } | undefined;
  /** What checkpoints call the output layer, where that is not the module's own name. */
  readonly storedHead?: { readonly head: string; readonly stored: string } | undefined;
}

/** A tensor of the merged checkpoint and how it comes about. */
export interface MergedTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly read: () => Promise<Uint8Array>;
}

export interface MergePlan {
  readonly tensors: readonly MergedTensor[];
  /** The output layer is no longer the embedding. */
  readonly untied: boolean;
  /** Rows of the tables when they have grown. */
  readonly vocabSize: number | undefined;
}

/** What happens to one tensor of the base. */
interface Change {
  /** Module whose weight it is, if the adapter updates it. */
  module?: string;
  replacement?: TensorBytes;
  rows?: TableRows;
}

/**
 * Every tensor of the merged checkpoint, nothing read yet but the states of 4-bit weights.
 * @param dtype of all floats; undefined keeps what each is stored as, or was before it was packed into 4 bits
 * @throws FormatError listing every module that the base does not have, or has in another shape.
 */
export async function planMerge(
  checkpoint: Checkpoint,
  fusion: Fusion,
  base: MergeBase,
  dtype: FloatDtype | undefined,
): Promise<MergePlan> {
  const problems: string[] = [];
  const changes = new Map<string, Change>();
  const head: Change = {};
  const table = base.tied === undefined ? undefined : storedName(checkpoint, `${base.tied.embedding}.weight`, base);
  // The only table may lie under the name of the output layer; it is the embedding then, and a change of the output
  // layer parts the two.
  const second = base.tied === undefined ? undefined : storedName(checkpoint, `${base.tied.head}.weight`, base);
  const embedding = table ?? second;
  const changeOf = (tensor: string): Change => {
    const isHead =
      base.tied !== undefined && storedHeadName(tensor, base) === storedHeadName(`${base.tied.head}.weight`, base);
    if (isHead && (second === undefined || second === embedding)) return head;
    const stored =
      base.tied !== undefined && tensor === `${base.tied.embedding}.weight`
        ? embedding
        : storedName(checkpoint, tensor, base);
    if (stored === undefined) problems.push(`${tensor.replace(/\.weight$/, '')}: the base stores no ${tensor}`);
    const change = changes.get(stored ?? '') ?? {};
    changes.set(stored ?? '', change);
    return change;
  };
  for (const module of fusion.modules.keys()) changeOf(`${module}.weight`).module = module;
  for (const [tensor, replacement] of fusion.replacements) changeOf(tensor).replacement = replacement;
  for (const [module, rows] of fusion.rows) changeOf(`${module}.weight`).rows = rows;

  const parts = quantizedParts(checkpoint);
  const tensors: MergedTensor[] = [];
  let vocabSize: number | undefined;
  const plan = async (source: string, name: string, change: Change): Promise<void> => {
    const planned = await planTensor(checkpoint, source, change, fusion, base, dtype);
    problems.push(...planned.problems);
    if (planned.grown) vocabSize = planned.tensor.shape[0];
    tensors.push({ ...planned.tensor, name });
  };
  const { module, replacement } = changes.get(embedding ?? '') ?? {};
  const parted = fusion.embeddingAlone === true && (module !== undefined || replacement !== undefined);
  // Some files have the table twice.
  const untied =
    parted || Object.keys(head).length > 0 || (second !== undefined && second !== embedding && changes.has(second));
  const named = (name: string): string =>
    table === undefined && name === embedding ? `${base.tied?.embedding}.weight` : name;
  for (const name of checkpoint.names()) if (!parts.has(name)) await plan(name, named(name), changes.get(name) ?? {});
  // Files may say in their metadata that a tensor is stored under another one's name; what is written says nothing
  // there.
  for (const [alias, source] of Object.entries(checkpoint.metadata))
    if (base.tied === undefined && checkpoint.has(source) && !checkpoint.has(alias))
      await plan(source, alias, changes.get(source) ?? {});
  if (untied && embedding !== undefined && (second === undefined || second === embedding))
    await plan(embedding, second ?? storedHeadName(`${base.tied?.head}.weight`, base), head);
  if (problems.length > 0) throw mismatches(`${checkpoint.name}: the adapter does not fit`, problems);
  return { tensors, untied, vocabSize };
}

async function planTensor(
  checkpoint: Checkpoint,
  name: string,
  { module, replacement, rows }: Change,
  fusion: Fusion,
  base: MergeBase,
  forced: FloatDtype | undefined,
): Promise<{ tensor: Omit<MergedTensor, 'name'>; grown: boolean; problems: readonly string[] }> {
  const info = checkpoint.info(name);
  const packed = await quantizedShape(checkpoint, name);
  const isTable = base.tied?.head === module || /(?:^|\.)w[tp]e\.weight$|(?:^|\.)lm_head\.weight$/.test(name);
  // bitsandbytes turns a Conv1D weight over before it packs it.
  const turned =
    base.isConv1D &&
    !isTable &&
    (module !== undefined || packed !== undefined) &&
    (packed?.shape ?? info.shape).length === 2;
  const own = packed === undefined ? info.shape : turned ? [...packed.shape].reverse() : packed.shape;
  const natural = packed?.dtype ?? info.dtype;
  const dtype = forced !== undefined && isFloat(natural) ? forced : natural;
  const problems: string[] = [];
  const check = (what: string, wanted: readonly number[] | undefined, found: readonly number[]): void => {
    if (wanted !== undefined && wanted.join() !== found.join())
      problems.push(`${what}: the adapter is made for [${wanted.join(', ')}], the base has [${found.join(', ')}]`);
  };
  check(name, replacement?.shape, own);
  if (module !== undefined) check(module, fusion.modules.get(module), turned ? [...own].reverse() : own);
  if (module !== undefined && packed !== undefined && fusion.needsFloats !== undefined)
    problems.push(`${module}: ${fusion.needsFloats}`);
  if (rows !== undefined) check(name, [own[0] as number, rows.values.shape[1] as number], own);
  const shape = rows === undefined ? own : [grownRows(own[0] as number, rows, name, problems), ...own.slice(1)];
  const untouched =
    packed === undefined &&
    module === undefined &&
    replacement === undefined &&
    rows === undefined &&
    dtype === info.dtype;
  if (!untouched && !isFloat(dtype)) problems.push(`${name}: found dtype ${dtype}, allowed F32, F16, BF16`);

  const values = async (): Promise<Float32Array> => {
    if (replacement !== undefined) return toFloat32(replacement, name);
    const q = packed === undefined ? undefined : await readQuantized(checkpoint, name);
    const stored = q === undefined ? await checkpoint.readFloat32(name) : dequantize4bit(q);
    const [first = 0, second = 0] = own;
    // [out, in] for the adapter, whatever the base has.
    const held = turned && q === undefined ? transposed(stored, first, second) : stored;
    const fused = module === undefined ? held : fusion.fuseWeight(module, held);
    return withRows(turned ? transposed(fused, second, first) : fused, rows, shape);
  };
  const read = async (): Promise<Uint8Array> =>
    untouched ? (await checkpoint.read(name)).bytes : encodeFloats(await values(), dtype as FloatDtype, name);
  return { tensor: { dtype, shape, read }, grown: shape[0] !== own[0], problems };
}

/** Rows of the table with the new ones behind it, which must follow on it without a gap. */
function grownRows(count: number, { indices }: TableRows, name: string, problems: string[]): number {
  const grown = indices.filter((index) => index >= count).sort((a, b) => a - b);
  grown.forEach((index, i) => {
    if (index !== count + i)
      problems.push(`${name}: the adapter has a new row ${index}, the base ends at ${count + i}`);
  });
  return count + grown.length;
}

function withRows(table: Float32Array, rows: TableRows | undefined, shape: readonly number[]): Float32Array {
  if (rows === undefined) return table;
  const out = new Float32Array(shape.reduce((product, size) => product * size, 1));
  out.set(table);
  const values = toFloat32(rows.values, 'trained rows');
  const width = shape[1] as number;
  rows.indices.forEach((index, i) => {
    out.set(values.subarray(i * width, (i + 1) * width), index * width);
  });
  return out;
}

/**
 * The name itself, that under which checkpoints keep the output layer, or without the first part: checkpoints of a bare
 * model leave out `transformer.` or `model.`.
 */
function storedName(checkpoint: Checkpoint, name: string, base: MergeBase): string | undefined {
  const bare = name.slice(name.indexOf('.') + 1);
  const { head, stored } = base.storedHead ?? {};
  const module = head !== undefined && name.startsWith(`${stored}.`) ? `${head}${name.slice(name.indexOf('.'))}` : name;
  return [storedHeadName(name, base), module, name, bare].find((candidate) => checkpoint.has(candidate));
}

/** A tensor of the output layer as checkpoints call it; any other under its own name. */
function storedHeadName(name: string, { storedHead }: MergeBase): string {
  return storedHead !== undefined && name.startsWith(`${storedHead.head}.`)
    ? `${storedHead.stored}${name.slice(storedHead.head.length)}`
    : name;
}

function isFloat(dtype: SafetensorsDtype): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}
