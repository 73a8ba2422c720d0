import { gzipSync } from 'node:zlib';
import * as zlib from 'node:zlib';
import fc from 'fast-check';
import Papa from 'papaparse';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.js';
import { openText, uncompressedName } from '../../src/data/text-source.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { blobSource, memorySource, type ByteSource } from '../../src/io/source.js';
import { listSourceRows } from '../support/data.js';
import { smallTokenizer } from '../tokenizer/fixture.js';

const TEXT = '{"text":"the otter"}\n{"text":"the ferret, the ferret, the ferret"}\n';
const VALUES = [{ text: 'the otter' }, { text: 'the ferret, the ferret, the ferret' }];
/** TEXT by the `zstd` command: plain, with a checksum, and behind a frame that is skipped. */
const ZSTD = [
  'KLUv/SBDVQEABAJ7InRleHQiOiJ0aGUgb3R0ZXIifQpmZXJyZXQsICJ9CgIALwqPx2QC',
  'KLUv/SRDVQEABAJ7InRleHQiOiJ0aGUgb3R0ZXIifQpmZXJyZXQsICJ9CgIALwqPx2QCC+AGtw==',
].map((text) => Buffer.from(text, 'base64'));
/** Node has the compressor from 22.15 on. */
const compressZstd = (zlib as { zstdCompressSync?: (bytes: Uint8Array) => Buffer }).zstdCompressSync;

async function content(source: ByteSource, start = 0): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of (await openText(source)).chunks(start)) pieces.push(chunk.slice());
  return Buffer.concat(pieces);
}

const valuesOf = async (name: string, bytes: Uint8Array): Promise<unknown[]> =>
  (await listSourceRows(memorySource(name, bytes))).map((row) => ('value' in row ? row.value : row.problem));

describe('compressed files', () => {
  it('are read as what they hold, whatever their names', async () => {
    const [plain, checked] = ZSTD as [Buffer, Buffer];
    const skipped = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    for (const [name, bytes] of [
      ['a.jsonl.gz', gzipSync(TEXT)],
      ['a.jsonl', gzipSync(TEXT)],
      ['a.jsonl.zst', plain],
      ['a.jsonl.zst', checked],
      ['a.jsonl.zst', Buffer.concat([skipped, plain])],
      ['a.jsonl.gz', Buffer.from(TEXT)],
    ] as const) {
      expect(await valuesOf(name, bytes)).toEqual(VALUES);
    }
    expect(await valuesOf('a.csv.gz', gzipSync(Papa.unparse(VALUES)))).toEqual(VALUES);
    expect(await valuesOf('a.TSV.ZST', plain)).toEqual([
      { '{"text":"the otter"}': '{"text":"the ferret, the ferret, the ferret"}' },
    ]);
    expect(await valuesOf('a.json.gz', gzipSync(JSON.stringify({ data: VALUES }, null, 2)))).toEqual(VALUES);
    expect(['a.jsonl.gz', 'b.csv.zst', 'c.txt.ZSTD', 'd.gz.csv'].map(uncompressedName)).toEqual([
      'a.jsonl',
      'b.csv',
      'c.txt',
      'd.gz.csv',
    ]);
  });

  it('are read from a blob of a browser', async () => {
    const blob = new Blob([gzipSync(TEXT)]);
    expect(
      (await listSourceRows(blobSource('a.jsonl.gz', blob))).map((row) => ('value' in row ? row.value : row.problem)),
    ).toEqual(VALUES);
  });

  it('give back any text, of several members and frames too, from any place on', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1, maxLength: 4 }),
        fc.nat(300),
        fc.nat(9),
        async (parts, start, zeros) => {
          const whole = Buffer.concat(parts);
          const wanted = whole.subarray(Math.min(start, whole.length)).toString('hex');
          const gzip = Buffer.concat([...parts.map((part) => gzipSync(part)), Buffer.alloc(zeros)]);
          expect((await content(memorySource('a.gz', gzip), start)).toString('hex')).toBe(wanted);
          if (compressZstd === undefined) return;
          expect(
            (
              await content(memorySource('a.zst', Buffer.concat(parts.map((part) => compressZstd(part)))), start)
            ).toString('hex'),
          ).toBe(wanted);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('that come to hundreds of times their bytes are refused beyond 64 MiB, not only as one row', async () => {
    // Blocks of 128 KiB line breaks in four bytes each.
    const block = (last: number): number[] => [
      (last | 2 | ((2 ** 17) << 3)) & 0xff,
      (((2 ** 17) << 3) >> 8) & 0xff,
      (((2 ** 17) << 3) >> 16) & 0xff,
      0x0a,
    ];
    const zstd = Uint8Array.from([
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0,
      0x38,
      ...Array.from({ length: 600 }, () => block(0)).flat(),
      ...block(1),
    ]);
    const gzip = gzipSync(Buffer.alloc(65 * 2 ** 20, ' '));
    for (const [name, bytes] of [
      ['a.zst', zstd],
      ['a.gz', gzip],
    ] as const) {
      const message = `${name}: ${bytes.length} bytes that come to more than 64 MiB, over 500 times as many: a decompression bomb?`;
      const error = await content(memorySource(name, bytes)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DataError);
      expect((error as Error).message).toContain(message);
    }
    await expect(listSourceRows(memorySource('a.json.gz', gzip))).rejects.toThrow('a decompression bomb?');
  });

  it('may be long', async () => {
    // Members that end in the middle of what is read at once, and one that does at its end.
    const part = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${(i * 7919) % 10007} `).join(''));
    const gzip = Buffer.concat([part, part, part].map((each) => gzipSync(each)));
    expect((await content(memorySource('a.gz', gzip))).equals(Buffer.concat([part, part, part]))).toBe(true);
    if (compressZstd !== undefined)
      expect(
        (await content(memorySource('a.zst', compressZstd(Buffer.concat([part, part]))))).equals(
          Buffer.concat([part, part]),
        ),
      ).toBe(true);
  });

  it('are refused where they are damaged or cut', async () => {
    const gzip = gzipSync(TEXT);
    const flipped = Buffer.from(gzip);
    flipped[gzip.length - 6] = (flipped[gzip.length - 6] as number) ^ 1; // the checksum
    for (const bytes of [
      gzip.subarray(0, -1),
      gzip.subarray(0, 30),
      flipped,
      Buffer.concat([gzip, Buffer.from('more')]),
      Buffer.concat([gzip, Buffer.from([0, 0, 1])]),
      gzip.subarray(0, 4),
    ]) {
      await expect(content(memorySource('a.gz', bytes))).rejects.toThrow(/^a\.gz: cannot be decompressed as gzip: ./);
    }
    const [plain] = ZSTD as [Buffer];
    for (const bytes of [
      plain.subarray(0, -1),
      plain.subarray(0, 7),
      Buffer.concat([plain, Buffer.from('more of it')]),
    ]) {
      await expect(content(memorySource('a.zst', bytes))).rejects.toThrow(
        /^a\.zst: cannot be decompressed as Zstandard: ./,
      );
    }
  });

  it('end with a result or an error of their own, however they are mutated', async () => {
    const sources = [gzipSync(TEXT), ...ZSTD];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(2),
        fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (which, changes) => {
          const bytes = Buffer.from(sources[which] as Buffer);
          for (const [at, value] of changes) bytes[4 + (at % (bytes.length - 4))] = value;
          await content(memorySource('a', bytes)).catch((error: unknown) => expect(error).toBeInstanceOf(DataError));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('do not ask for more memory than a limit', async () => {
    // A frame whose header asks for a window of 1 GiB, alone and behind another.
    const wide = Buffer.from('28b52ffd00a00100004100', 'hex');
    for (const bytes of [wide, Buffer.concat([ZSTD[0] as Buffer, wide])])
      await expect(content(memorySource('a.zst', bytes))).rejects.toThrow(
        'a.zst: needs a window of 1024 MiB to be decompressed, allowed are 128',
      );
    // A row of 65 MiB of blanks, stored.
    await expect(
      valuesOf(
        'a.jsonl.gz',
        gzipSync(Buffer.concat([Buffer.from('{'), Buffer.alloc(65 * 2 ** 20, ' ')]), { level: 0 }),
      ),
    ).rejects.toThrow('a row of more than 64 MiB');
  });

  it('of other kinds are named', async () => {
    for (const [head, kind] of [
      ['BZh9', 'bzip2'],
      ['PK\u0003\u0004', 'zip'],
    ])
      await expect(valuesOf('a.jsonl', Buffer.from(`${head}...`, 'latin1'))).rejects.toThrow(
        `a.jsonl: is compressed as ${kind}; read are gzip (.gz) and Zstandard (.zst): decompress it first`,
      );
  });

  it('are not streamed, which is said', async () => {
    const opening = openDataset({
      source: memorySource('a.jsonl.gz', gzipSync(TEXT)),
      tokenizer: await smallTokenizer(),
      options: { streaming: true },
    });
    await expect(opening).rejects.toThrow(ConfigError);
    await expect(opening).rejects.toThrow('decompress the file, or leave streaming off');
  });
});
