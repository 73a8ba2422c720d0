import type { FloatDtype } from '../../../kernels/types.js';
import { FormatError } from '../../errors.js';
import { decodeUtf8 } from '../../io/json.js';
import { byteLength } from '../../io/safetensors-header.js';
import type { TensorBytes } from '../../io/safetensors.js';
import type { ByteSource } from '../../io/source.js';
import {
  DEFAULT_ALIGNMENT,
  GGML_TYPES,
  GGUF_MAGIC,
  GGUF_VERSION,
  MAX_DIMENSIONS,
  VALUE_TYPES,
  type GgufValue,
} from './format.js';

type ValueType = keyof typeof VALUE_TYPES;

const VALUE_NAMES = new Map(Object.entries(VALUE_TYPES).map(([name, id]) => [id as number, name as ValueType]));
const DTYPES = new Map(Object.entries(GGML_TYPES).map(([name, id]) => [id as number, name as FloatDtype]));
/** Least bytes of a value in an array, so that a count can be held against the file's size. */
const LEAST_BYTES: Readonly<Record<ValueType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  array: 12,
  uint64: 8,
  int64: 8,
  float64: 8,
};
const MAX_DEPTH = 8;

/** Where a tensor lies. */
export interface GgufTensorInfo {
  /** ggml's number of the type; `dtype` where it is a float type that can be read here. */
  readonly type: number;
  readonly dtype: FloatDtype | undefined;
  /** Slowest first. */
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
}

/** A GGUF file of version 2 or 3, its header in memory. */
export class GgufFile {
  private constructor(
    private readonly source: ByteSource,
    readonly entries: ReadonlyMap<string, GgufValue>,
    readonly tensors: ReadonlyMap<string, GgufTensorInfo>,
  ) {}

  /** @throws FormatError naming the file and what is wrong, every count held against the file's size first. */
  static async open(source: ByteSource): Promise<GgufFile> {
    const cursor = new Cursor(source);
    if (source.size < 24 || (await cursor.u32()) !== GGUF_MAGIC)
      throw new FormatError(`${source.name}: not a GGUF file`);
    const version = await cursor.u32();
    if (version !== GGUF_VERSION && version !== 2)
      throw new FormatError(`${source.name}: version: found ${version}, allowed 2 or 3 (little-endian)`);
    const tensorCount = await cursor.count('tensors', 24);
    const entryCount = await cursor.count('entries', 13);
    const entries = new Map<string, GgufValue>();
    for (let i = 0; i < entryCount; i++) {
      const key = await cursor.text();
      if (entries.has(key))
        throw new FormatError(`${source.name}: entry ${JSON.stringify(key)}: occurs twice, allowed once`);
      entries.set(key, await readValue(cursor, await cursor.valueType(key), key, 0));
    }
    const tensors = new Map<string, GgufTensorInfo>();
    for (let i = 0; i < tensorCount; i++) {
      const name = await cursor.text();
      if (tensors.has(name))
        throw new FormatError(`${source.name}: tensor ${JSON.stringify(name)}: occurs twice, allowed once`);
      tensors.set(name, await readInfo(cursor, name));
    }
    const given = entries.get('general.alignment');
    const alignment = given === undefined ? DEFAULT_ALIGNMENT : given.type === 'uint32' ? given.value : 0;
    if (alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
      throw new FormatError(`${source.name}: general.alignment: allowed a power of two, as uint32`);
    }
    const start = Math.ceil(cursor.at / alignment) * alignment;
    for (const [name, info] of tensors) {
      const length = info.dtype === undefined ? 0 : (byteLength(info.dtype, info.shape) ?? Infinity);
      const placed = { ...info, offset: start + info.offset };
      if (info.offset % alignment !== 0 || placed.offset + length > source.size) {
        throw new FormatError(
          `${source.name}: tensor ${JSON.stringify(name)}: found ${length} bytes at ${placed.offset}, allowed a multiple of ${alignment} within ${source.size} bytes`,
        );
      }
      tensors.set(name, placed);
    }
    return new GgufFile(source, entries, tensors);
  }

  /** @throws FormatError when there is no such tensor, or it is quantised. */
  async read(name: string): Promise<TensorBytes> {
    const info = this.tensors.get(name);
    if (info === undefined) throw new FormatError(`${this.source.name}: no tensor ${JSON.stringify(name)}`);
    const { dtype, shape, offset, type } = info;
    const length = dtype === undefined ? undefined : byteLength(dtype, shape);
    if (dtype === undefined || length === undefined) {
      throw new FormatError(
        `${this.source.name}: tensor ${JSON.stringify(name)}: found ggml type ${type}, allowed F32, F16, BF16`,
      );
    }
    return { dtype, shape, bytes: await this.source.read(offset, length) };
  }
}

async function readInfo(cursor: Cursor, name: string): Promise<GgufTensorInfo> {
  const dimensions = await cursor.u32();
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
    throw new FormatError(
      `${cursor.name}: tensor ${JSON.stringify(name)}: found ${dimensions} dimensions, allowed 1 to ${MAX_DIMENSIONS}`,
    );
  }
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) shape.unshift(await cursor.u64(`tensor ${JSON.stringify(name)}`));
  const type = await cursor.u32();
  return { type, dtype: DTYPES.get(type), shape, offset: await cursor.u64(`tensor ${JSON.stringify(name)}`) };
}

async function readValue(cursor: Cursor, type: ValueType, key: string, depth: number): Promise<GgufValue> {
  switch (type) {
    case 'string':
      return { type, value: await cursor.text() };
    case 'bool':
      return { type, value: (await cursor.take(1)).getUint8(0) !== 0 };
    case 'array': {
      if (depth >= MAX_DEPTH)
        throw new FormatError(
          `${cursor.name}: entry ${JSON.stringify(key)}: arrays nested more than ${MAX_DEPTH} deep`,
        );
      const of = await cursor.valueType(key);
      const count = await cursor.count(`entry ${JSON.stringify(key)}`, LEAST_BYTES[of]);
      const value: GgufValue[] = [];
      for (let i = 0; i < count; i++) value.push(await readValue(cursor, of, key, depth + 1));
      return { type, of, value };
    }
    case 'uint64':
      return { type, value: (await cursor.take(8)).getBigUint64(0, true) };
    case 'int64':
      return { type, value: (await cursor.take(8)).getBigInt64(0, true) };
    case 'uint8':
      return { type, value: (await cursor.take(1)).getUint8(0) };
    case 'int8':
      return { type, value: (await cursor.take(1)).getInt8(0) };
    case 'uint16':
      return { type, value: (await cursor.take(2)).getUint16(0, true) };
    case 'int16':
      return { type, value: (await cursor.take(2)).getInt16(0, true) };
    case 'uint32':
      return { type, value: await cursor.u32() };
    case 'int32':
      return { type, value: (await cursor.take(4)).getInt32(0, true) };
    case 'float32':
      return { type, value: (await cursor.take(4)).getFloat32(0, true) };
    case 'float64':
      return { type, value: (await cursor.take(8)).getFloat64(0, true) };
  }
}

const CHUNK = 65536;

/** Reads a file from its start in chunks. */
class Cursor {
  at = 0;
  private chunk = new Uint8Array();
  private chunkStart = 0;

  constructor(private readonly source: ByteSource) {}

  get name(): string {
    return this.source.name;
  }

  async take(length: number): Promise<DataView> {
    const from = this.at;
    if (from + length > this.chunkStart + this.chunk.length) {
      const wanted = Math.max(length, Math.min(CHUNK, this.source.size - from));
      this.chunk = new Uint8Array(await this.source.read(from, wanted));
      this.chunkStart = from;
    }
    this.at += length;
    return new DataView(this.chunk.buffer, this.chunk.byteOffset + from - this.chunkStart, length);
  }

  async u32(): Promise<number> {
    return (await this.take(4)).getUint32(0, true);
  }

  async u64(what: string): Promise<number> {
    const value = (await this.take(8)).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new FormatError(`${this.name}: ${what}: found the size ${value}, allowed below 2^53`);
    return Number(value);
  }

  /** A number of things that take at least `least` bytes each. */
  async count(what: string, least: number): Promise<number> {
    const count = await this.u64(what);
    const room = Math.floor((this.source.size - this.at) / least);
    if (count > room)
      throw new FormatError(`${this.name}: ${what}: found ${count}, allowed at most ${room} in the rest of the file`);
    return count;
  }

  async text(): Promise<string> {
    const length = await this.count('a text', 1);
    const { buffer, byteOffset } = await this.take(length);
    return decodeUtf8(new Uint8Array(buffer, byteOffset, length), this.name);
  }

  async valueType(key: string): Promise<ValueType> {
    const id = await this.u32();
    const type = VALUE_NAMES.get(id);
    if (type === undefined)
      throw new FormatError(`${this.name}: entry ${JSON.stringify(key)}: found type ${id}, allowed 0 to 12`);
    return type;
  }
}
