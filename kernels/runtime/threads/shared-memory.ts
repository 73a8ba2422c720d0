const IMPORTS = 2;
const MEMORIES = 5;
/** 4 GB: what a memory may grow to when the binary sets no limit of its own. */
const MOST_PAGES = 65536;

/**
 * The same WebAssembly binary with its memory, imported or its own, declared as shared, so that threads can work on it.
 * Plain loads and stores are allowed on shared memory: nothing else changes.
 *
 * @throws Error when the binary is cut short or has no memory
 * Source: WebAssembly specification, binary format of modules; limits with flag 3 (a maximum, shared) are its threads
 * extension.
 */
export function withSharedMemory(binary: Uint8Array): Uint8Array {
  const reader = new Reader(binary);
  const pieces: Uint8Array[] = [];
  let kept = 0;
  let found = false;
  reader.at = 8;
  while (reader.at < binary.length) {
    const start = reader.at;
    const id = reader.byte();
    const size = reader.number();
    const content = reader.at;
    if (id === IMPORTS || id === MEMORIES) {
      const body = id === IMPORTS ? shareImported(reader) : shareOwn(reader);
      body.push(binary.subarray(reader.at, content + size));
      const length = body.reduce((sum, piece) => sum + piece.length, 0);
      found ||= body.length > 1;
      pieces.push(binary.subarray(kept, start), Uint8Array.from([id, ...leb(length)]), ...body);
      kept = content + size;
    }
    reader.at = content + size;
  }
  if (!found) throw new Error('the WebAssembly binary has no memory');
  return joined([...pieces, binary.subarray(kept)]);
}

/** The section up to the end of its last memory, in pieces; the reader stands behind it. None when it has no memory. */
function shareImported(reader: Reader): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let kept = reader.at;
  for (let left = reader.number(); left > 0; left--) {
    reader.skip(reader.number());
    reader.skip(reader.number());
    const kind = reader.byte();
    if (kind === 2) {
      pieces.push(reader.since(kept), sharedLimits(reader));
      kept = reader.at;
    } else if (kind === 0) {
      reader.number();
    } else if (kind === 1) {
      reader.skip(1);
      if ((reader.byte() & 1) === 1) reader.number();
      reader.number();
    } else {
      reader.skip(2);
    }
  }
  reader.at = kept;
  return pieces;
}

function shareOwn(reader: Reader): Uint8Array[] {
  const start = reader.at;
  const pieces: Uint8Array[] = [];
  let kept = start;
  for (let left = reader.number(); left > 0; left--) {
    pieces.push(reader.since(kept), sharedLimits(reader));
    kept = reader.at;
  }
  reader.at = kept;
  return pieces;
}

function sharedLimits(reader: Reader): Uint8Array {
  const bounded = (reader.byte() & 1) === 1;
  const least = reader.number();
  return Uint8Array.from([3, ...leb(least), ...leb(bounded ? reader.number() : MOST_PAGES)]);
}

class Reader {
  at = 0;

  constructor(private readonly binary: Uint8Array) {}

  byte(): number {
    const value = this.binary[this.at++];
    if (value === undefined) throw new Error('the WebAssembly binary is cut short');
    return value;
  }

  /** An unsigned LEB128. */
  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const next = this.byte();
      value += (next & 127) * factor;
      if (next < 128) return value;
    }
  }

  skip(bytes: number): void {
    this.at += bytes;
  }

  since(start: number): Uint8Array {
    return this.binary.subarray(start, this.at);
  }
}

function leb(value: number): number[] {
  const bytes = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
