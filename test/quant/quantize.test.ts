import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Packed4bit } from '../../kernels/types.js';
import { FormatError } from '../../src/errors.js';
import { float32ToBfloat16 } from '../../src/io/half.js';
import { torchMean } from '../../src/quant/mean.js';
import { CODES } from '../../src/quant/nf4.js';
import { dequantize4bit, dequantizeAbsmax, packedBytes, quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { countDiffering, bytesOf, differing, GOLDEN, goldenFloats } from './golden.js';

interface Variant {
  tag: string;
  quant_type: 'nf4' | 'fp4';
  blocksize: number;
  offset_f32_hex: string;
}
const index = JSON.parse(readFileSync(`${GOLDEN}/golden/index.json`, 'utf8')) as {
  vectors: { name: string; shape: number[]; variants: Variant[] }[];
};
const cases = index.vectors.flatMap(({ name, shape, variants }) =>
  variants.filter(({ quant_type }) => quant_type !== undefined).map((variant) => ({ name, shape, ...variant })),
);

function nested(q: Packed4bit) {
  if (q.absmax.kind !== 'nested') throw new Error('scales are not nested');
  return q.absmax;
}

describe('bitsandbytes goldens, 0 bits of difference', () => {
  it('has them all', () => expect(cases).toHaveLength(12));

  it.each(cases)('$name $tag', ({ name, shape, tag, quant_type: quantType, blocksize: blockSize, offset_f32_hex }) => {
    const values = goldenFloats(`golden/${name}/input.f32`);
    const golden = (actual: Float32Array | Uint16Array | Uint8Array, file: string) =>
      expect(differing(actual, `golden/${name}/${tag}.${file}`), file).toBe(0);

    const plain = quantize4bit(values, shape, { quantType, blockSize, doubleQuant: false });
    golden(plain.packed, 'packed.u8');
    golden(dequantizeAbsmax(plain.absmax), 'absmax.f32');
    golden(dequantize4bit(plain), 'dequant.f32');
    golden(float32ToBfloat16(dequantize4bit({ ...plain, dtype: 'BF16' })), 'dequant.bf16');

    const double = quantize4bit(values, shape, { quantType, blockSize, doubleQuant: true });
    expect(double.packed).toEqual(plain.packed);
    golden(nested(double).codes, 'dq.absmax_q.u8');
    golden(nested(double).nestedAbsmax, 'dq.nested_absmax.f32');
    expect(nested(double).offset).toBe(Buffer.from(offset_f32_hex, 'hex').readFloatLE());
    golden(dequantizeAbsmax(double.absmax), 'dq.absmax_recon.f32');
    golden(dequantize4bit(double), 'dq.dequant.f32');
  });
});

describe('edge cases of bitsandbytes', () => {
  interface Edge {
    name: string;
    input_f32_hex: string;
    nf4: { torch_default: { packed_hex: string; absmax: number } };
    fp4: { torch_default: { packed_hex: string; absmax: number } };
  }
  const edges = JSON.parse(readFileSync(`${GOLDEN}/golden/edge_cases.json`, 'utf8')) as Edge[];

  it.each(edges.flatMap((edge) => (['nf4', 'fp4'] as const).map((quantType) => ({ ...edge, quantType }))))(
    '$name as $quantType: codes and scales equal',
    ({ input_f32_hex, quantType, ...edge }) => {
      const values = new Float32Array(new Uint8Array(Buffer.from(input_f32_hex, 'hex')).buffer);
      const q = quantize4bit(values, [values.length], { quantType, doubleQuant: false });
      const expected = edge[quantType].torch_default;
      expect(Buffer.from(q.packed).toString('hex')).toBe(expected.packed_hex);
      expect([...dequantizeAbsmax(q.absmax)]).toEqual([Math.fround(expected.absmax)]);
    },
  );
});

describe('quantize4bit', () => {
  const shapes = fc.oneof(
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 70 })),
    fc.tuple(fc.constant(1), fc.integer({ min: 1, max: 300 })),
  );
  const options = fc.record({
    quantType: fc.constantFrom('nf4' as const, 'fp4' as const),
    blockSize: fc.constantFrom(2, 32, 64, 128, 256),
    doubleQuant: fc.boolean(),
  });

  it('errs by at most half the widest step of the code, times the scale', () => {
    fc.assert(
      fc.property(
        shapes,
        options,
        fc.integer(),
        fc.constantFrom(1e-20, 0.02, 1, 1e20),
        (shape, settings, seed, spread) => {
          const random = new Random(seed);
          const values = Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal() * spread);
          const q = quantize4bit(values, shape, { ...settings, doubleQuant: false });
          const back = dequantize4bit(q);
          const scales = dequantizeAbsmax(q.absmax);
          const code = Float32Array.from(CODES[settings.quantType]).sort();
          const widest = Math.max(...Array.from(code.subarray(1), (value, i) => value - (code[i] as number)));
          for (let i = 0; i < values.length; i++) {
            const scale = scales[Math.floor(i / settings.blockSize)] as number;
            expect(Math.abs((back[i] as number) - (values[i] as number))).toBeLessThanOrEqual(
              scale * (widest / 2 + 1e-6),
            );
          }
        },
      ),
    );
  });

  it('has the sizes that shape and block size say, and takes its own output as a fixed point', () => {
    fc.assert(
      fc.property(shapes, options, fc.integer(), (shape, settings, seed) => {
        const random = new Random(seed);
        const count = shape[0] * shape[1];
        const values = Float32Array.from({ length: count }, () => random.normal());
        const q = quantize4bit(values, shape, settings);
        const blocks = Math.ceil(count / settings.blockSize);
        expect(q.packed.length).toBe(Math.ceil(count / 2));
        expect(packedBytes(q)).toBe(
          Math.ceil(count / 2) + (settings.doubleQuant ? blocks + 4 * Math.ceil(blocks / 256) + 4 : 4 * blocks),
        );
        expect(dequantizeAbsmax(q.absmax)).toHaveLength(blocks);
        if (!settings.doubleQuant) {
          expect(quantize4bit(dequantize4bit(q), shape, settings).absmax).toEqual(q.absmax);
        }
      }),
    );
  });

  it('rounds to the stored dtype', () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
    const q = quantize4bit(values, [8, 8], { quantType: 'nf4', doubleQuant: true, dtype: 'F16' });
    const full = dequantize4bit({ ...q, dtype: 'F32' });
    const half = dequantize4bit(q);
    expect(countDiffering(bytesOf(full), bytesOf(half), 4)).toBeGreaterThan(50);
    half.forEach((value, i) => expect(Math.abs(value - (full[i] as number))).toBeLessThanOrEqual(2 ** -11));
  });

  it('has a relative error of 0.0919 on normal weights, with 4.127 bits a weight', () => {
    const random = new Random(7);
    const values = Float32Array.from({ length: 512 * 1024 }, () => random.normal() * 0.02);
    const q = quantize4bit(values, [512, 1024], { quantType: 'nf4', doubleQuant: true });
    const back = dequantize4bit(q);
    let error = 0;
    let norm = 0;
    values.forEach((value, i) => {
      error += (value - (back[i] as number)) ** 2;
      norm += value ** 2;
    });
    expect(Math.sqrt(error / norm)).toBeCloseTo(0.0919, 3);
    expect((packedBytes(q) * 8) / values.length).toBeCloseTo(4.127, 3);
  });

  it('refuses values that are not finite and names the first', () => {
    for (const broken of [NaN, Infinity, -Infinity]) {
      const values = new Float32Array(200).fill(1);
      values[130] = broken;
      expect(() => quantize4bit(values, [200], { quantType: 'nf4', doubleQuant: true })).toThrow(/value 130: found/);
    }
    expect(() => quantize4bit(new Float32Array(6), [2, 4], { quantType: 'nf4', doubleQuant: false })).toThrow(
      FormatError,
    );
    expect(() =>
      quantize4bit(new Float32Array(6), [6], { quantType: 'nf4', doubleQuant: false, blockSize: 3 }),
    ).toThrow(/block size/);
  });

  it('gives zeros for blocks of zeros, whole or partial', () => {
    for (const quantType of ['nf4', 'fp4'] as const) {
      for (const doubleQuant of [false, true]) {
        const back = dequantize4bit(quantize4bit(new Float32Array(101), [101], { quantType, doubleQuant }));
        expect(back.every((value) => Math.abs(value) < 1e-37)).toBe(true);
      }
    }
  });

  it('takes an empty weight', () => {
    const q = quantize4bit(new Float32Array(), [0, 4], { quantType: 'nf4', doubleQuant: true });
    expect(q.packed).toHaveLength(0);
    expect(dequantize4bit(q)).toHaveLength(0);
  });
});

describe('torchMean', () => {
  it('is the mean up to rounding, for all sizes and orders of carry', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70_000 }), fc.integer(), (count, seed) => {
        const random = new Random(seed);
        const values = Float32Array.from({ length: count }, () => random.uniform());
        const exact = values.reduce((sum, value) => sum + value, 0) / count;
        expect(Math.abs(torchMean(values) / exact - 1)).toBeLessThan(1e-6);
      }),
      { numRuns: 50 },
    );
  });
});
