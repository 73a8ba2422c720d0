import { FormatError } from '../../errors.js';
import { byteLength } from '../../io/safetensors-header.js';
import {
  DEFAULT_ALIGNMENT,
  GGML_TYPES,
  GGUF_MAGIC,
  GGUF_VERSION,
  MAX_DIMENSIONS,
  VALUE_TYPES,
  type GgufTensor,
  type GgufValue,
} from './format.js';

/**
 * A GGUF file. Entries and tensors keep the order that they are given in.
 * @throws FormatError when a tensor's bytes do not fit its dtype and shape, or a name occurs twice.
 */
export function encodeGguf(entries: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Uint8Array {
  const header = new ByteWriter();
  header.u32(GGUF_MAGIC);
  header.u32(GGUF_VERSION);
  header.u64(tensors.length);
  header.u64(entries.size);
  for (const [key, value] of entries) {
    header.text(key);
    header.u32(VALUE_TYPES[value.type]);
    writeValue(header, value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const expected = byteLength(dtype, shape);
    if (names.has(name)) throw new FormatError(`tensor ${JSON.stringify(name)}: occurs twice, allowed once`);
    if (expected !== bytes.byteLength || shape.length === 0 || shape.length > MAX_DIMENSIONS) {
      throw new FormatError(
        `tensor ${JSON.stringify(name)}: found ${bytes.byteLength} bytes, allowed ${expected ?? 'none'} for ${dtype} [${shape.join(', ')}]`,
      );
    }
    names.add(name);
    header.text(name);
    header.u32(shape.length);
    for (const size of [...shape].reverse()) header.u64(size);
    header.u32(GGML_TYPES[dtype]);
    header.u64(offset);
    offset += aligned(bytes.byteLength);
  }
  const start = aligned(header.length);
  const file = new Uint8Array(start + offset);
  file.set(header.bytes());
  let at = start;
  for (const { bytes } of tensors) {
    file.set(bytes, at);
    at += aligned(bytes.byteLength);
  }
  return file;
}

function aligned(length: number): number {
  return Math.ceil(length / DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT;
}

function writeValue(out: ByteWriter, entry: GgufValue): void {
  switch (entry.type) {
    case 'string':
      return out.text(entry.value);
    case 'bool':
      return out.scalar(1, (view) => view.setUint8(0, entry.value ? 1 : 0));
    case 'array':
      out.u32(VALUE_TYPES[entry.of]);
      out.u64(entry.value.length);
      for (const value of entry.value) {
        if (value.type !== entry.of)
          throw new FormatError(`an array of ${entry.of} holds a value of type ${value.type}`);
        writeValue(out, value);
      }
      return;
    case 'uint64':
      return out.scalar(8, (view) => view.setBigUint64(0, entry.value, true));
    case 'int64':
      return out.scalar(8, (view) => view.setBigInt64(0, entry.value, true));
    case 'uint8':
      return out.scalar(1, (view) => view.setUint8(0, entry.value));
    case 'int8':
      return out.scalar(1, (view) => view.setInt8(0, entry.value));
    case 'uint16':
      return out.scalar(2, (view) => view.setUint16(0, entry.value, true));
    case 'int16':
      return out.scalar(2, (view) => view.setInt16(0, entry.value, true));
    case 'uint32':
      return out.u32(entry.value);
    case 'int32':
      return out.scalar(4, (view) => view.setInt32(0, entry.value, true));
    case 'float32':
      return out.scalar(4, (view) => view.setFloat32(0, entry.value, true));
    case 'float64':
      return out.scalar(8, (view) => view.setFloat64(0, entry.value, true));
  }
}

class ByteWriter {
  private readonly parts: Uint8Array[] = [];
  length = 0;

  scalar(size: number, set: (view: DataView) => void): void {
    const part = new Uint8Array(size);
    set(new DataView(part.buffer));
    this.push(part);
  }

  u32(value: number): void {
    this.scalar(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): void {
    this.scalar(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.push(bytes);
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  private push(part: Uint8Array): void {
    this.parts.push(part);
    this.length += part.length;
  }
}
