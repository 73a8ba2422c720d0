import { FormatError } from '../errors.js';

/** Random access to the bytes of one file, wherever it lies. */
export interface ByteSource {
  /** Stands in error messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`. The array may share memory with the source: callers must not write to it.
   * @throws FormatError when the range is not inside the file.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Releases the file; nothing can be read afterwards. */
  close(): Promise<void>;
}

/** Bytes in memory as a source. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      checkRange(name, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

/** A File or Blob of a browser: only the ranges that are read come into memory. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(name, blob.size, offset, length);
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.byteLength !== length) throw shortRead(name, offset, length, bytes.byteLength);
      return bytes;
    },
    async close() {},
  };
}

export function checkRange(name: string, size: number, offset: number, length: number): void {
  const sound = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!sound || offset + length > size) {
    throw new FormatError(`${name}: asked for ${length} bytes at offset ${offset}, the file has ${size}`);
  }
}

/** The file ended before its own size: it was cut while it was read. */
export function shortRead(name: string, offset: number, length: number, found: number): FormatError {
  return new FormatError(
    `${name}: asked for ${length} bytes at offset ${offset}, found only ${found}: the file was cut meanwhile`,
  );
}
