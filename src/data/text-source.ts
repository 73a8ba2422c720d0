import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { gunzip } from './gzip.js';
import { unzstd } from './zstd.js';

/** The content of a text file, compressed or not. */
export interface TextSource {
  readonly name: string;
  /** The bytes from `start` on, piece by piece. Each call reads from the beginning of a compressed file. */
  chunks(start: number): AsyncGenerator<Uint8Array>;
  /** Single ranges, where the file is not compressed. */
  readonly read?: ByteSource['read'];
}

/** Bytes that are in memory at once. */
const CHUNK = 2 ** 20;

const COMPRESSIONS: readonly {
  readonly name: string;
  readonly magic: readonly number[];
  readonly decompress?: (source: ByteSource) => AsyncGenerator<Uint8Array>;
}[] = [
  { name: 'gzip', magic: [0x1f, 0x8b], decompress: gunzip },
  { name: 'Zstandard', magic: [0x28, 0xb5, 0x2f, 0xfd], decompress: unzstd },
  // A frame that is skipped; of its sixteen magic numbers the one that pzstd writes.
  { name: 'Zstandard', magic: [0x50, 0x2a, 0x4d, 0x18], decompress: unzstd },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: 'zip', magic: [0x50, 0x4b, 0x03, 0x04] },
  { name: '7z', magic: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c] },
];

/**
 * The text of a file, decompressed where its first bytes are those of gzip or Zstandard, whatever its name.
 * @throws DataError for other compressions.
 */
export async function openText(source: ByteSource): Promise<TextSource> {
  const head = await source.read(0, Math.min(6, source.size));
  const found = COMPRESSIONS.find(({ magic }) => magic.every((byte, i) => head[i] === byte));
  if (found === undefined)
    return {
      name: source.name,
      chunks: (start) => plainChunks(source, start),
      read: (offset, length) => source.read(offset, length),
    };
  const { name, decompress } = found;
  if (decompress === undefined)
    throw new DataError(
      `${source.name}: is compressed as ${name}; read are gzip (.gz) and Zstandard (.zst): decompress it first`,
    );
  return { name: source.name, chunks: (start) => skip(limited(decompress(source), source), start) };
}

/** The name of a file without the ending of its compression. */
export function uncompressedName(name: string): string {
  return name.replace(/\.(?:gz|zst|zstd)$/i, '');
}

async function* plainChunks(source: ByteSource, start: number): AsyncGenerator<Uint8Array> {
  for (let position = start; position < source.size; position += CHUNK)
    yield source.read(position, Math.min(CHUNK, source.size - position));
}

/** Text that is read whatever it is compressed to, and how many times longer than its file it may be beyond that. */
const [FREE_BYTES, MOST_TIMES] = [2 ** 26, 500];

/**
 * What is decompressed, as long as it can be text: rows come to 3 to 20 times their compressed bytes, even equal ones
 * to a few hundred. A file that is made to fill memory or disk (a decompression bomb) has 1000 times with gzip, a
 * million with Zstandard.
 * @throws DataError beyond 64 MiB that are more than 500 times the file.
 */
async function* limited(chunks: AsyncGenerator<Uint8Array>, { name, size }: ByteSource): AsyncGenerator<Uint8Array> {
  let made = 0;
  for await (const chunk of chunks) {
    made += chunk.length;
    if (made > Math.max(FREE_BYTES, MOST_TIMES * size)) {
      throw new DataError(
        `${name}: ${size} bytes that come to more than ${Math.floor(made / 2 ** 20)} MiB, over ${MOST_TIMES} times as many: a decompression bomb? Decompress it yourself if it is none`,
      );
    }
    yield chunk;
  }
}

async function* skip(chunks: AsyncGenerator<Uint8Array>, start: number): AsyncGenerator<Uint8Array> {
  let left = start;
  for await (const chunk of chunks) {
    if (left < chunk.length) yield chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}
