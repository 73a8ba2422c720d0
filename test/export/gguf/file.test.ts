import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/errors.js';
import type { GgufTensor, GgufValue } from '../../../src/export/gguf/format.js';
import { GgufFile } from '../../../src/export/gguf/read.js';
import { encodeGguf } from '../../../src/export/gguf/write.js';
import { memorySource } from '../../../src/io/source.js';

const open = (bytes: Uint8Array): Promise<GgufFile> => GgufFile.open(memorySource('x.gguf', bytes));

const ENTRIES = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.u8', { type: 'uint8', value: 200 }],
  ['a.i8', { type: 'int8', value: -7 }],
  ['a.u16', { type: 'uint16', value: 65535 }],
  ['a.i16', { type: 'int16', value: -300 }],
  ['a.u32', { type: 'uint32', value: 4e9 }],
  ['a.i32', { type: 'int32', value: -4e4 }],
  ['a.f32', { type: 'float32', value: Math.fround(0.1) }],
  ['a.f64', { type: 'float64', value: 0.1 }],
  ['a.bool', { type: 'bool', value: true }],
  ['a.u64', { type: 'uint64', value: 2n ** 60n }],
  ['a.i64', { type: 'int64', value: -(2n ** 60n) }],
  [
    'a.list',
    {
      type: 'array',
      of: 'string',
      value: [
        { type: 'string', value: 'ä' },
        { type: 'string', value: '' },
      ],
    },
  ],
]);
const TENSORS: GgufTensor[] = [
  { name: 'one', dtype: 'F32', shape: [1, 3], bytes: new Uint8Array(Float32Array.of(1, 2, 3).buffer) },
  { name: 'two', dtype: 'F16', shape: [2, 1], bytes: Uint8Array.of(0, 0x3c, 0, 0x40) },
];

describe('GGUF files', () => {
  it('read back what was written, data at multiples of 32', async () => {
    const bytes = encodeGguf(ENTRIES, TENSORS);
    const file = await open(bytes);
    expect(file.entries).toEqual(ENTRIES);
    expect([...file.tensors.keys()]).toEqual(['one', 'two']);
    for (const { name, dtype, shape, bytes: data } of TENSORS)
      expect(await file.read(name)).toEqual({ dtype, shape, bytes: data });
    expect([...file.tensors.values()].map(({ offset }) => offset % 32)).toEqual([0, 0]);
    expect(bytes.length % 32).toBe(0);
    // The specification's bytes: magic, version, counts, length and text of the first key, its type.
    expect([...bytes.subarray(0, 24)]).toEqual([
      71, 71, 85, 70, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0,
    ]);
    expect([...bytes.subarray(24, 32)]).toEqual([20, 0, 0, 0, 0, 0, 0, 0]);
    expect(new TextDecoder().decode(bytes.subarray(32, 52))).toBe('general.architecture');
    expect([...bytes.subarray(52, 64)]).toEqual([8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('refuse tensors that do not fit their shape, and names that occur twice', () => {
    const [one] = TENSORS as [GgufTensor];
    expect(() => encodeGguf(new Map(), [one, one])).toThrow('tensor "one": occurs twice');
    expect(() => encodeGguf(new Map(), [{ ...one, shape: [4] }])).toThrow(
      'tensor "one": found 12 bytes, allowed 16 for F32 [4]',
    );
  });

  it.each([
    ['no magic', (b: DataView) => b.setUint32(0, 1), 'not a GGUF file'],
    ['another version', (b: DataView) => b.setUint32(4, 1, true), 'version: found 1, allowed 2 or 3'],
    [
      'too many tensors',
      (b: DataView) => b.setBigUint64(8, 10n ** 9n, true),
      'tensors: found 1000000000, allowed at most',
    ],
    ['too many entries', (b: DataView) => b.setBigUint64(16, 2n ** 63n, true), 'entries: found the size'],
    ['a text beyond the end', (b: DataView) => b.setBigUint64(24, 10n ** 6n, true), 'a text: found 1000000'],
    ['an unknown type', (b: DataView) => b.setUint32(52, 13, true), 'entry "general.architecture": found type 13'],
  ])('refuse %s', async (_, change, message) => {
    const bytes = encodeGguf(ENTRIES, TENSORS);
    change(new DataView(bytes.buffer));
    await expect(open(bytes)).rejects.toThrow(message);
  });

  it('never give anything but a FormatError when bytes are changed or cut', async () => {
    const good = encodeGguf(ENTRIES, TENSORS);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(good.length),
        async (at, value, end) => {
          const bytes = good.slice(0, end);
          if (at < end) bytes[at] = value;
          try {
            const file = await open(bytes);
            for (const [name, { dtype }] of file.tensors) if (dtype !== undefined) await file.read(name);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
