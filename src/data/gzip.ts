import { Inflate } from 'pako';
import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';

/** Compressed bytes that are read at once; gzip makes at most 1032 times as many of them. */
const SLICE = 2 ** 16;

/** What pako keeps of its stream, which its types leave out. */
interface InflateStream {
  readonly strm: { readonly avail_in: number };
}

/**
 * The content of a gzip file, of several members too, a piece at a time. Zeros behind the last member are padding.
 * @throws DataError where the file is damaged, cut short, or has something else behind its end.
 * Source: RFC 1952.
 */
export async function* gunzip(source: ByteSource): AsyncGenerator<Uint8Array> {
  const refuse = (problem: string): DataError =>
    new DataError(`${source.name}: cannot be decompressed as gzip: ${problem}`);
  let member: GzipMember | undefined;
  for (let position = 0; position < source.size;) {
    const input = await source.read(position, Math.min(SLICE, source.size - position));
    member ??= new GzipMember();
    const rest = member.push(input);
    yield* member.take();
    position += input.length - rest;
    if (member.problem !== undefined) throw refuse(member.problem);
    if (!member.ended) continue;
    member = undefined;
    if (position < source.size && (await source.read(position, 1))[0] === 0) {
      if (await onlyZeros(source, position)) return;
      throw refuse('something follows its end');
    }
  }
  if (member !== undefined) throw refuse('it is cut short');
}

/** One member: header, deflated bytes, checksum. */
class GzipMember {
  ended = false;
  problem: string | undefined;
  private readonly inflate = new Inflate({ windowBits: 31, chunkSize: SLICE });
  private made: Uint8Array[] = [];

  constructor() {
    this.inflate.onData = (piece) => this.made.push(piece as Uint8Array);
    this.inflate.onEnd = (status) => {
      this.ended = true;
      if (status !== 0) this.problem = this.inflate.msg || `error ${status}`;
    };
  }

  /** @returns how many of the bytes are behind the end of the member. */
  push(input: Uint8Array): number {
    this.inflate.push(input, false);
    return this.ended ? (this.inflate as unknown as InflateStream).strm.avail_in : 0;
  }

  take(): Uint8Array[] {
    const { made } = this;
    this.made = [];
    return made;
  }
}

async function onlyZeros(source: ByteSource, start: number): Promise<boolean> {
  for (let position = start; position < source.size; position += SLICE) {
    const bytes = await source.read(position, Math.min(SLICE, source.size - position));
    if (bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}
