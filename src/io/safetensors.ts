import { FormatError } from '../errors.js';
import { bfloat16ToFloat32, float16ToFloat32 } from './half.js';
import {
  byteLength,
  DTYPE_BITS,
  MAX_HEADER_BYTES,
  parseHeader,
  type SafetensorsDtype,
  type TensorInfo,
} from './safetensors-header.js';
import type { ByteSource } from './source.js';

export type { SafetensorsDtype, TensorInfo } from './safetensors-header.js';

/** A tensor as it is stored: row-major, little-endian. */
export interface TensorBytes {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/**
 * An open safetensors file: 8 bytes header length, the JSON header, then the tensors. Only the header is in memory;
 * tensors are read one by one.
 */
export class SafetensorsFile {
  private constructor(
    private readonly source: ByteSource,
    private readonly dataStart: number,
    readonly tensors: ReadonlyMap<string, TensorInfo>,
    readonly metadata: Readonly<Record<string, string>>,
  ) {}

  /** @throws FormatError naming the file and every mismatch of its header. */
  static async open(source: ByteSource): Promise<SafetensorsFile> {
    const { name, size } = source;
    if (size < 8) throw new FormatError(`${name}: found ${size} bytes, a safetensors file has at least 8`);
    const prefix = await source.read(0, 8);
    const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
    const allowed = Math.min(size - 8, MAX_HEADER_BYTES);
    if (length > BigInt(allowed)) {
      const kind = otherKind(prefix);
      if (kind !== undefined) throw new FormatError(`${name}: ${kind}`);
      throw new FormatError(
        `${name}: header length: found ${length}, allowed at most ${allowed} in a file of ${size} bytes`,
      );
    }
    const dataStart = 8 + Number(length);
    const header = parseHeader(name, await source.read(8, Number(length)), size - dataStart);
    return new SafetensorsFile(source, dataStart, header.tensors, header.metadata);
  }

  get name(): string {
    return this.source.name;
  }

  /** @throws FormatError when there is no such tensor. */
  async read(name: string): Promise<TensorBytes> {
    const info = this.tensors.get(name);
    if (info === undefined) throw new FormatError(`${this.name}: no tensor ${JSON.stringify(name)}`);
    const bytes = await this.source.read(this.dataStart + info.begin, info.end - info.begin);
    return { dtype: info.dtype, shape: info.shape, bytes };
  }

  /** The values of a float tensor. @throws FormatError when there is no such tensor or it holds no floats. */
  async readFloat32(name: string): Promise<Float32Array> {
    const tensor = await this.read(name);
    return toFloat32(tensor, `${this.name}: tensor ${JSON.stringify(name)}`);
  }

  async close(): Promise<void> {
    await this.source.close();
  }
}

/**
 * What a file is, by its first bytes, that is often taken for a safetensors file. Each of these, read as the length of
 * a header, is larger than any file.
 */
function otherKind(prefix: Uint8Array): string | undefined {
  const text = String.fromCharCode(...prefix);
  if (text === 'version ') return 'a Git LFS pointer, not the file: fetch it with `git lfs pull`';
  if (text.startsWith('GGUF'))
    return 'a GGUF file, not safetensors: take the model in safetensors that it was made from';
  if (text.startsWith('PK\x03\x04') || /^\x80[\x02-\x05]/.test(text))
    return 'a PyTorch pickle, which can run code: convert it to safetensors first';
  return undefined;
}

/** F32, F16, BF16 or F64 as float32, in memory of its own. @throws FormatError naming `where` for other dtypes. */
export function toFloat32({ dtype, bytes }: TensorBytes, where: string): Float32Array {
  // A copy: the source's bytes need not be aligned and are not ours to change.
  const buffer = (): ArrayBuffer => new Uint8Array(bytes).buffer;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer());
    case 'F16':
      return float16ToFloat32(new Uint16Array(buffer()));
    case 'BF16':
      return bfloat16ToFloat32(new Uint16Array(buffer()));
    case 'F64':
      return new Float32Array(new Float64Array(buffer()));
    default:
      throw new FormatError(`${where}: found dtype ${dtype}, allowed F32, F16, BF16, F64`);
  }
}

/** Shares memory with `values`. */
export function float32Tensor(shape: readonly number[], values: Float32Array): TensorBytes {
  return { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

type NamedTensors = ReadonlyMap<string, TensorBytes> | Readonly<Record<string, TensorBytes>>;

/** What a header says of a tensor besides where it lies. */
export type TensorShape = Pick<TensorBytes, 'dtype' | 'shape'>;

/**
 * The first bytes of a safetensors file, length and header, and the order in which the tensors' bytes follow, for
 * writing them one by one. As the reference writer has them: tensors by falling dtype alignment, then by name in UTF-8
 * order; compact JSON, padded with blanks to 8 bytes. Metadata keeps the order it is given in (the reference's order is
 * that of a hash map).
 * @throws FormatError for a shape that is none, or a name that is taken.
 */
export function safetensorsLayout(
  tensors: Iterable<readonly [string, TensorShape]>,
  metadata?: Readonly<Record<string, string>>,
): { readonly header: Uint8Array; readonly order: readonly string[] } {
  const rank = new Map(Object.keys(DTYPE_BITS).map((dtype, index) => [dtype, index]));
  const encoder = new TextEncoder();
  const sorted = [...tensors]
    .map(([name, tensor]) => ({ name, key: encoder.encode(name), tensor, rank: rank.get(tensor.dtype) ?? -1 }))
    .sort((a, b) => b.rank - a.rank || compareBytes(a.key, b.key));
  const header: string[] = metadata === undefined ? [] : [`"__metadata__":${JSON.stringify(metadata)}`];
  let offset = 0;
  for (const { name, tensor } of sorted) {
    const { dtype, shape } = tensor;
    const length = byteLength(dtype, shape);
    if (length === undefined || name === '__metadata__') {
      throw new FormatError(
        `tensor ${JSON.stringify(name)}: no such tensor can be stored: ${dtype} [${shape.join(', ')}]`,
      );
    }
    const end = offset + length;
    header.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    );
    offset = end;
  }
  const json = encoder.encode(`{${header.join(',')}}`);
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  return { header: padded, order: sorted.map(({ name }) => name) };
}

/**
 * The parts of a safetensors file in order, for writing without a second copy of the weights; see {@link
 * safetensorsLayout}.
 * @throws FormatError when a tensor's bytes do not fit its dtype and shape.
 */
export function safetensorsParts(tensors: NamedTensors, metadata?: Readonly<Record<string, string>>): Uint8Array[] {
  const entries = new Map(isMap(tensors) ? tensors : Object.entries(tensors));
  for (const [name, { dtype, shape, bytes }] of entries) {
    const expected = byteLength(dtype, shape);
    if (expected !== bytes.byteLength) {
      throw new FormatError(
        `tensor ${JSON.stringify(name)}: found ${bytes.byteLength} bytes, allowed ${expected ?? 'none'} for ${dtype} [${shape.join(', ')}]`,
      );
    }
  }
  const { header, order } = safetensorsLayout(entries, metadata);
  return [header, ...order.map((name) => (entries.get(name) as TensorBytes).bytes)];
}

/** A whole safetensors file; see {@link safetensorsParts}. */
export function encodeSafetensors(tensors: NamedTensors, metadata?: Readonly<Record<string, string>>): Uint8Array {
  const parts = safetensorsParts(tensors, metadata);
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    file.set(part, offset);
    offset += part.byteLength;
  }
  return file;
}

/** `instanceof Map` alone does not narrow a ReadonlyMap. */
function isMap(tensors: NamedTensors): tensors is ReadonlyMap<string, TensorBytes> {
  return tensors instanceof Map;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
