import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/errors.js';
import { fileSource } from '../../src/io/node.js';
import { byteLength, DTYPE_BITS, type SafetensorsDtype } from '../../src/io/safetensors-header.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../../src/io/safetensors.js';
import { blobSource, memorySource, type ByteSource } from '../../src/io/source.js';
import { describeReferences, referencePath } from '../support/references.js';

function fileOf(header: string | Uint8Array, data: Uint8Array | number = 0, claimed?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const body = typeof data === 'number' ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + json.length + body.length);
  new DataView(file.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(body, 8 + json.length);
  return file;
}

const open = (bytes: Uint8Array) => SafetensorsFile.open(memorySource('x.safetensors', bytes));

async function readAll(file: SafetensorsFile): Promise<Map<string, TensorBytes>> {
  const tensors = new Map<string, TensorBytes>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  return tensors;
}

const tensor = (dtype: string, shape: unknown, begin: unknown, end: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe('broken files: one FormatError that names file, tensor, found and allowed', () => {
  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /^x\.safetensors: found 0 bytes/],
    ['a header longer than the file', fileOf('{}', 0, 1000n), /header length: found 1000, allowed at most 2 /],
    ['a header of 2^63 bytes', fileOf('{}', 0, 2n ** 63n), /header length: found 9223372036854775808/],
    ['a header of 2^53 + 1 bytes', fileOf('{}', 0, 2n ** 53n + 1n), /header length: found 9007199254740993/],
    ['a header that is no UTF-8', fileOf(Uint8Array.of(0x7b, 0xff, 0x7d)), /header: not UTF-8/],
    ['a header that is no JSON', fileOf('{"a": }'), /x\.safetensors: header:1:7: not JSON/],
    ['a header that is a list', fileOf('[]'), /the header is no JSON object/],
    ['an entry that is no object', fileOf('{"a":3}'), /tensor "a": found 3, allowed an object/],
    [
      'an unknown dtype',
      fileOf(`{"a":${tensor('F33', [1], 0, 4)}}`, 4),
      /tensor "a": dtype: found "F33", allowed BOOL/,
    ],
    ['a negative size', fileOf(`{"a":${tensor('F32', [-1, -4], 0, 16)}}`, 16), /tensor "a": shape: found \[-1,-4\]/],
    ['a fractional size', fileOf(`{"a":${tensor('F32', [1.5], 0, 6)}}`, 6), /tensor "a": shape: found \[1\.5\]/],
    ['a shape of words', fileOf(`{"a":${tensor('F32', ['4'], 0, 16)}}`, 16), /tensor "a": shape: found \["4"\]/],
    [
      'a shape that overflows',
      fileOf(`{"a":${tensor('F32', [2 ** 40, 2 ** 40], 0, 4)}}`, 4),
      /tensor "a": shape: found .* below 2\^53/,
    ],
    ['half a byte', fileOf(`{"a":${tensor('F4', [3], 0, 2)}}`, 2), /tensor "a": shape: found \[3\]/],
    [
      'offsets past the end',
      fileOf(`{"a":${tensor('F32', [4], 0, 16)}}`, 12),
      /data_offsets: found \[0,16\], allowed 0 <= begin <= end <= 12/,
    ],
    ['offsets in reverse', fileOf(`{"a":${tensor('F32', [4], 16, 0)}}`, 16), /data_offsets: found \[16,0\]/],
    ['offsets below 0', fileOf(`{"a":${tensor('F32', [4], -16, 0)}}`, 16), /data_offsets: found \[-16,0\]/],
    [
      'three offsets',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}', 8),
      /data_offsets: found \[0,4,8\]/,
    ],
    [
      'a size that does not fit the shape',
      fileOf(`{"a":${tensor('F32', [3], 0, 16)}}`, 16),
      /tensor "a": data_offsets: found 16 bytes, allowed 12 for F32 \[3\]/,
    ],
    [
      'overlapping tensors',
      fileOf(`{"a":${tensor('U8', [4], 0, 4)},"b":${tensor('U8', [4], 2, 6)}}`, 6),
      /tensor "b": overlaps its neighbour: begins at 2, allowed 4/,
    ],
    [
      'a gap',
      fileOf(`{"a":${tensor('U8', [2], 0, 2)},"b":${tensor('U8', [2], 4, 6)}}`, 6),
      /tensor "b": leaves a gap: begins at 4, allowed 2/,
    ],
    [
      'bytes after the last tensor',
      fileOf(`{"a":${tensor('U8', [2], 0, 2)}}`, 5),
      /found 5 bytes after the header, allowed 2/,
    ],
    [
      'a name that occurs twice',
      fileOf(`{"a":${tensor('U8', [2], 0, 2)},"\\u0061":${tensor('U8', [2], 0, 2)}}`, 2),
      /key "a": occurs twice/,
    ],
    ['metadata of numbers', fileOf('{"__metadata__":{"a":1}}'), /__metadata__\.a: found 1, allowed a string/],
    ['metadata that is no object', fileOf('{"__metadata__":"pt"}'), /__metadata__: found "pt"/],
  ])('%s', async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toThrow(FormatError);
    await expect(open(bytes)).rejects.toThrow(message);
  });

  it('lists all mismatches at once', async () => {
    const header = `{"a":${tensor('F32', [3], 0, 16)},"b":${tensor('X', [1], 0, 1)},"c":${tensor('U8', [9], 0, 9)}}`;
    await expect(open(fileOf(header, 8))).rejects.toThrow(/tensor "a"[^]*tensor "b"[^]*tensor "c"/);
  });

  it('reads no more than the header before the checks', async () => {
    const bytes = fileOf(`{"a":${tensor('F32', [2 ** 50], 0, 2 ** 52)}}`, 4);
    const asked: number[] = [];
    const inner = memorySource('x', bytes);
    const source: ByteSource = { ...inner, read: (offset, length) => (asked.push(length), inner.read(offset, length)) };
    await expect(SafetensorsFile.open(source)).rejects.toThrow(FormatError);
    expect(asked).toEqual([8, bytes.length - 12]);
  });

  it('survives nesting 100,000 deep', async () => {
    await expect(open(fileOf('{"a":' + '['.repeat(100_000)))).rejects.toThrow(FormatError);
    await expect(open(fileOf(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`))).rejects.toThrow(
      /nested more than 512 deep/,
    );
  });

  it('a flipped, cut or inserted byte never gives anything but a FormatError', async () => {
    const valid = encodeSafetensors(
      {
        'layer.a': float32Tensor([2, 3], new Float32Array(6)),
        'layer.b': { dtype: 'BF16', shape: [5], bytes: new Uint8Array(10) },
      },
      { format: 'pt' },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ at: fc.nat(valid.length - 1), byte: fc.nat(255), how: fc.constantFrom('set', 'cut', 'insert') }),
          { minLength: 1, maxLength: 5 },
        ),
        async (changes) => {
          let bytes: number[] = [...valid];
          for (const { at, byte, how } of changes) {
            if (how === 'set') bytes[Math.min(at, bytes.length - 1)] = byte;
            else if (how === 'insert') bytes.splice(at, 0, byte);
            else bytes = bytes.slice(0, Math.max(1, at));
          }
          try {
            const file = await open(Uint8Array.from(bytes));
            for (const [name, info] of file.tensors) {
              expect((await file.read(name)).bytes.length).toBe(byteLength(info.dtype, info.shape));
            }
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('reading', () => {
  it('converts F32, F16, BF16 and F64, and nothing else', async () => {
    const file = await open(
      encodeSafetensors({
        f32: float32Tensor([2], Float32Array.of(1.5, -2)),
        f16: { dtype: 'F16', shape: [2], bytes: Uint8Array.of(0, 0x3e, 0, 0xc0) },
        bf16: { dtype: 'BF16', shape: [2], bytes: Uint8Array.of(0xc0, 0x3f, 0, 0xc0) },
        f64: { dtype: 'F64', shape: [2], bytes: new Uint8Array(Float64Array.of(1.5, -2).buffer) },
        i64: { dtype: 'I64', shape: [1], bytes: new Uint8Array(8) },
      }),
    );
    for (const name of ['f32', 'f16', 'bf16', 'f64'])
      expect([...(await file.readFloat32(name))], name).toEqual([1.5, -2]);
    await expect(file.readFloat32('i64')).rejects.toThrow(/tensor "i64": found dtype I64, allowed F32/);
    await expect(file.read('none')).rejects.toThrow(/no tensor "none"/);
  });

  it('gives floats in memory of their own', async () => {
    const bytes = encodeSafetensors({ a: float32Tensor([1], Float32Array.of(1)) });
    const file = await open(bytes);
    (await file.readFloat32('a'))[0] = 7;
    expect([...(await file.readFloat32('a'))]).toEqual([1]);
  });

  it('reads a Blob', async () => {
    const bytes = encodeSafetensors({ a: float32Tensor([2], Float32Array.of(1, 2)) }, { key: 'value' });
    const file = await SafetensorsFile.open(blobSource('picked', new Blob([bytes as Uint8Array<ArrayBuffer>])));
    expect(file.metadata).toEqual({ key: 'value' });
    expect([...(await file.readFloat32('a'))]).toEqual([1, 2]);
    await file.close();
  });
});

describe('writing', () => {
  it('gives the bytes of the reference writer for its own examples', () => {
    const six = Float32Array.of(0, 1, 2, 3, 4, 5);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    expect(text(encodeSafetensors({})).slice(8)).toBe('{}      ');
    expect(text(encodeSafetensors({}, { framework: 'pt' })).slice(8)).toBe('{"__metadata__":{"framework":"pt"}}     ');
    const one = encodeSafetensors({ attn0: float32Tensor([1, 1, 2, 3], six) });
    expect(one[0]).toBe(72);
    expect(text(one.subarray(8, 80))).toBe('{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ');
    expect(new Float32Array(one.slice(80).buffer)).toEqual(six);
  });

  it('sorts by alignment, then by the bytes of the name', async () => {
    const zero = (dtype: SafetensorsDtype): TensorBytes => ({
      dtype,
      shape: [],
      bytes: new Uint8Array(DTYPE_BITS[dtype] / 8),
    });
    // U+FF5E comes before U+1F600 in UTF-8, after it in UTF-16.
    const names = {
      '\u{1f600}': zero('F32'),
      '\uff5e': zero('F32'),
      b: zero('BF16'),
      a: zero('F16'),
      z: zero('I64'),
      y: zero('F64'),
      u: zero('U8'),
    };
    expect([...(await open(encodeSafetensors(names))).tensors.keys()]).toEqual([
      'z',
      'y',
      '\uff5e',
      '\u{1f600}',
      'b',
      'a',
      'u',
    ]);
  });

  it('refuses bytes that do not fit', () => {
    expect(() => encodeSafetensors({ a: { dtype: 'F32', shape: [2], bytes: new Uint8Array(7) } })).toThrow(
      /tensor "a": found 7 bytes, allowed 8/,
    );
    expect(() => encodeSafetensors({ __metadata__: { dtype: 'U8', shape: [1], bytes: new Uint8Array(1) } })).toThrow(
      FormatError,
    );
  });

  it('reads back what it wrote, whatever the names, dtypes and shapes', async () => {
    const dtypes = Object.keys(DTYPE_BITS).filter(
      (dtype) => DTYPE_BITS[dtype as SafetensorsDtype] % 8 === 0,
    ) as SafetensorsDtype[];
    const anyTensor = fc
      .tuple(fc.constantFrom(...dtypes), fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }), fc.nat(255))
      .map(([dtype, shape, fill]): TensorBytes => ({
        dtype,
        shape,
        bytes: new Uint8Array(byteLength(dtype, shape) ?? 0).fill(fill),
      }));
    const name = fc.string({ unit: 'binary' }).filter((text) => text !== '__metadata__');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(name, anyTensor)),
        fc.dictionary(fc.string(), fc.string()),
        async (entries, metadata) => {
          const tensors = new Map(entries);
          const bytes = encodeSafetensors(tensors, metadata);
          const file = await open(bytes);
          expect(file.metadata).toEqual(metadata);
          const read = await readAll(file);
          expect(new Map([...read].sort())).toEqual(new Map([...tensors].sort()));
          expect(encodeSafetensors(read, file.metadata)).toEqual(bytes);
        },
      ),
    );
  });
});

describeReferences(
  'files that the reference writer made come out byte for byte',
  ['adapters', 'models', 'reference'],
  () => {
    const below = (folder: string): string[] =>
      readdirSync(referencePath(folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.safetensors'))
        .map((path) => join(folder, path))
        .sort();
    // A layout-only sample of another writer: it sorts in another order.
    const files = ['adapters', 'models', 'reference']
      .flatMap(below)
      .filter((path) => !path.includes('synthetic_layout_only'));

    it('has them all, the adapters of PEFT among them', () => {
      expect(files.filter((path) => path.endsWith('adapter_model.safetensors')).length).toBeGreaterThan(15);
    });

    it.each(files)('%s', async (path) => {
      const expected = readFileSync(referencePath(path));
      const file = await SafetensorsFile.open(await fileSource(referencePath(path)));
      const hasMetadata = expected.includes('"__metadata__"');
      const written = encodeSafetensors(await readAll(file), hasMetadata ? file.metadata : undefined);
      await file.close();
      expect(Buffer.compare(Buffer.from(written.buffer), expected)).toBe(0);
    });
  },
);

it.each([
  [
    'a Git LFS pointer',
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n',
    /a Git LFS pointer, not the file: fetch it with `git lfs pull`/,
  ],
  ['a GGUF file', 'GGUF\x03\0\0\0\0\0\0\0', /a GGUF file, not safetensors/],
  ['a pickle in a zip', 'PK\x03\x04\0\0\0\0\0\0', /a PyTorch pickle, which can run code/],
  ['a pickle', '\x80\x02}q\0(X\x01\0\0', /a PyTorch pickle, which can run code/],
])('%s under the name of a safetensors file is named', async (_what, text, message) => {
  await expect(SafetensorsFile.open(memorySource('model.safetensors', Buffer.from(text, 'latin1')))).rejects.toThrow(
    message,
  );
});
