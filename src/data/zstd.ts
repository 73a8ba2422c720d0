import { Decompress } from 'fzstd';
import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';

/** Compressed bytes that are decoded at once: a block of four bytes can stand for 128 KiB. */
const SLICE = 2 ** 12;
/** What the decoder has to keep of the text behind it: the limit of the `zstd` command, too. */
const LARGEST_WINDOW = 2 ** 27;
/** Magic number, descriptor, window, dictionary, content size. */
const LONGEST_HEADER = 18;
const MAGIC = 0xfd2fb528;

/**
 * The content of a Zstandard file, of several frames too, a piece at a time.
 * @throws DataError where the file is damaged, cut short, or needs a window of more than 128 MiB.
 * Source: RFC 8878.
 */
export async function* unzstd(source: ByteSource): AsyncGenerator<Uint8Array> {
  let made: Uint8Array[] = [];
  // The decoder writes on over what it hands out.
  const decoder = new Decompress((piece) => made.push(piece.slice()));
  const frames = new FrameWalk(source);
  for (let position = 0; position < source.size; position += SLICE) {
    const input = await source.read(position, Math.min(SLICE, source.size - position));
    await frames.check(position + input.length);
    const pieces = ((): Uint8Array[] => {
      try {
        decoder.push(input, position + input.length === source.size);
        return made;
      } catch (error) {
        throw damaged(source, error instanceof Error ? error.message : String(error));
      }
    })();
    made = [];
    yield* pieces;
  }
}

/**
 * Finds the frames of a file by the sizes of their blocks, ahead of the decoder, which allocates the window that a
 * header asks for.
 */
class FrameWalk {
  private at = 0;

  constructor(private readonly source: ByteSource) {}

  /** @throws DataError when a frame that begins before `until` needs too large a window. */
  async check(until: number): Promise<void> {
    while (this.at < until) {
      const header = await this.read(LONGEST_HEADER);
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
      if (header.length < 9) return void (this.at = this.source.size); // too short for a frame, which the decoder says
      if (view.getUint32(0, true) !== MAGIC) {
        const skippable = (view.getUint32(0, true) & 0xfffffff0) >>> 0 === 0x184d2a50;
        if (!skippable) throw damaged(this.source, `no frame begins at byte ${this.at}`);
        this.at += 8 + view.getUint32(4, true);
        continue;
      }
      const descriptor = header[4] as number;
      const single = (descriptor & 0x20) !== 0;
      const dictionary = [0, 1, 2, 4][descriptor & 3] as number;
      const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
      const sizeAt = 5 + (single ? 0 : 1) + dictionary;
      const window = single ? contentSize(view, sizeAt, sizeBytes) : windowSize(header[5] as number);
      if (window > LARGEST_WINDOW) {
        throw new DataError(
          `${this.source.name}: needs a window of ${Math.ceil(window / 2 ** 20)} MiB to be decompressed, allowed are ${LARGEST_WINDOW / 2 ** 20}: compress it again without --long`,
        );
      }
      this.at += sizeAt + sizeBytes;
      await this.skipBlocks();
      if ((descriptor & 4) !== 0) this.at += 4;
    }
  }

  private async skipBlocks(): Promise<void> {
    for (let last = false; !last;) {
      const bytes = await this.read(3);
      if (bytes.length < 3) return; // cut short, which the decoder says
      const [a, b, c] = [...bytes] as [number, number, number];
      last = (a & 1) === 1;
      const size = (a | (b << 8) | (c << 16)) >> 3;
      this.at += 3 + (((a >> 1) & 3) === 1 ? 1 : size);
    }
  }

  private read(length: number): Promise<Uint8Array> {
    const left = Math.max(0, this.source.size - this.at);
    return left === 0 ? Promise.resolve(new Uint8Array(0)) : this.source.read(this.at, Math.min(length, left));
  }
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (at + bytes > view.byteLength) return 0;
  if (bytes === 8) return Number(view.getBigUint64(at, true));
  if (bytes === 4) return view.getUint32(at, true);
  return bytes === 2 ? view.getUint16(at, true) + 256 : view.getUint8(at);
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function damaged(source: ByteSource, problem: string): DataError {
  return new DataError(`${source.name}: cannot be decompressed as Zstandard: ${problem}`);
}
