import { FormatError } from '../errors.js';
import { decodeUtf8, duplicateKeys, isRecord, parseJson } from './json.js';

/**
 * Bits an element. The order is the format's own, by rising alignment: writers sort tensors by it, falling.
 * Source: the `Dtype` enumeration of the safetensors reference implementation.
 */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type SafetensorsDtype = keyof typeof DTYPE_BITS;

/** Where a tensor lies: `begin` and `end` count bytes from the end of the header. */
export interface TensorInfo {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: Map<string, TensorInfo>;
  readonly metadata: Record<string, string>;
}

/** The reference implementation's limit: no model comes near it. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_LISTED = 50;

/** Bytes of a tensor, or undefined when the shape is no shape or the count is over 2^53. */
export function byteLength(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    elements *= size;
    if (elements > Number.MAX_SAFE_INTEGER) return undefined;
  }
  const bits = elements * DTYPE_BITS[dtype];
  return bits <= Number.MAX_SAFE_INTEGER && bits % 8 === 0 ? bits / 8 : undefined;
}

/**
 * Reads and checks a header: every entry against its dtype, its shape and the `dataBytes` that follow the header, and
 * all entries together, which must cover these bytes without overlap or gap.
 * @throws FormatError one for the whole file, listing every mismatch.
 */
export function parseHeader(name: string, header: Uint8Array, dataBytes: number): SafetensorsHeader {
  const text = decodeUtf8(header, `${name}: header`);
  const json = parseJson(text, `${name}: header`);
  if (!isRecord(json)) throw new FormatError(`${name}: the header is no JSON object`);
  const problems = duplicateKeys(text).map((key) => `key ${JSON.stringify(key)}: occurs twice, allowed once`);
  const metadata: [string, string][] = [];
  const tensors = new Map<string, TensorInfo>();
  for (const [key, entry] of Object.entries(json)) {
    if (key === '__metadata__') {
      if (!isRecord(entry)) problems.push(`__metadata__: found ${show(entry)}, allowed an object of strings`);
      else {
        for (const [field, value] of Object.entries(entry)) {
          if (typeof value === 'string') metadata.push([field, value]);
          else problems.push(`__metadata__.${field}: found ${show(value)}, allowed a string`);
        }
      }
      continue;
    }
    const info = readEntry(entry, dataBytes);
    if (typeof info === 'string') problems.push(`tensor ${JSON.stringify(key)}: ${info}`);
    else tensors.set(key, info);
  }
  // Coverage says something only about entries that are sound each on its own.
  if (problems.length === 0) problems.push(...coverage(tensors, dataBytes));
  if (problems.length > 0) throw mismatches(name, problems);
  return { tensors, metadata: Object.fromEntries(metadata) };
}

/** One error for many findings, each on its line. */
export function mismatches(name: string, problems: readonly string[]): FormatError {
  const listed = problems.slice(0, MAX_LISTED);
  if (problems.length > MAX_LISTED) listed.push(`and ${problems.length - MAX_LISTED} more`);
  return new FormatError(listed.length === 1 ? `${name}: ${listed[0]}` : `${name}:\n  ${listed.join('\n  ')}`);
}

function readEntry(entry: unknown, dataBytes: number): TensorInfo | string {
  if (!isRecord(entry)) return `found ${show(entry)}, allowed an object with dtype, shape, data_offsets`;
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) return `dtype: found ${show(dtype)}, allowed ${Object.keys(DTYPE_BITS).join(', ')}`;
  if (!isNumbers(shape)) return `shape: found ${show(shape)}, allowed a list of whole numbers`;
  const bytes = byteLength(dtype, shape);
  if (bytes === undefined) {
    return `shape: found ${show(shape)}, allowed whole numbers of at least 0 that come to whole bytes below 2^53`;
  }
  if (!isNumbers(offsets) || offsets.length !== 2) return `data_offsets: found ${show(offsets)}, allowed [begin, end]`;
  const [begin, end] = offsets as [number, number];
  if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0 || begin > end || end > dataBytes) {
    return `data_offsets: found ${show(offsets)}, allowed 0 <= begin <= end <= ${dataBytes}, the bytes after the header`;
  }
  if (end - begin !== bytes) {
    return `data_offsets: found ${end - begin} bytes, allowed ${bytes} for ${dtype} ${show(shape)}`;
  }
  return { dtype, shape, begin, end };
}

function coverage(tensors: ReadonlyMap<string, TensorInfo>, dataBytes: number): string[] {
  const problems: string[] = [];
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let reached = 0;
  for (const [key, { begin, end }] of sorted) {
    if (begin !== reached) {
      const kind = begin < reached ? 'overlaps its neighbour' : 'leaves a gap';
      problems.push(`tensor ${JSON.stringify(key)}: ${kind}: begins at ${begin}, allowed ${reached}`);
    }
    reached = Math.max(reached, end);
  }
  if (reached !== dataBytes) {
    problems.push(`found ${dataBytes} bytes after the header, allowed ${reached}, where the last tensor ends`);
  }
  return problems;
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === 'string' && Object.hasOwn(DTYPE_BITS, value);
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'nothing';
  } catch {
    // JSON.parse takes any depth, JSON.stringify runs out of stack.
    text = 'a value nested too deep to show';
  }
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
