import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  roundToBfloat16,
  roundToFloat16,
} from '../../src/io/half.js';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
const isNan = (bits: number, infinity: number) => (bits & 0x7fff) > infinity;
const float32 = fc.float({ noNaN: true });

/** Rounds in exact arithmetic: every float32 and every power of two here is exact in float64. */
function nearest(value: number, fractionBits: number, leastExponent: number, largest: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), leastExponent);
  const unit = 2 ** (exponent - fractionBits);
  const scaled = Math.abs(value) / unit;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor) * unit;
  return Math.sign(value) * (rounded > largest ? Infinity : rounded);
}

describe('16-bit floats', () => {
  it('has known float16 values', () => {
    const bits = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00);
    expect([...float16ToFloat32(bits)]).toEqual([1, -2, 65504, 2 ** -24, -0, Infinity]);
    expect([...float32ToFloat16(Float32Array.of(65519.99, 65520, 2 ** -25, 2 ** -25 * 1.001))]).toEqual([
      0x7bff, 0x7c00, 0, 1,
    ]);
  });

  it('takes all 65,536 values there and back', () => {
    for (const [widen, narrow, infinity] of [
      [float16ToFloat32, float32ToFloat16, 0x7c00],
      [bfloat16ToFloat32, float32ToBfloat16, 0x7f80],
    ] as const) {
      const back = narrow(widen(all));
      const wrong = all.filter((bits) =>
        isNan(bits, infinity) ? !isNan(back[bits] as number, infinity) : back[bits] !== bits,
      );
      expect([...wrong]).toEqual([]);
    }
  });

  it('rounds to the nearest, ties to even', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          float32,
          fc.float({ min: -70000, max: 70000, noNaN: true }),
          fc.float({ min: Math.fround(-1e-4), max: Math.fround(1e-4), noNaN: true }),
        ),
        (value) => {
          expect(float16ToFloat32(float32ToFloat16(Float32Array.of(value)))[0]).toBe(nearest(value, 10, -14, 65504));
          const bfloat = bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(value)))[0];
          expect(bfloat).toBe(nearest(value, 7, -126, 3.3895313892515355e38));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('keeps every NaN a NaN and rounds in place like there and back', () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff).buffer);
    expect([...roundToFloat16(nan.slice())].every(Number.isNaN)).toBe(true);
    expect([...roundToBfloat16(nan.slice())].every(Number.isNaN)).toBe(true);
    fc.assert(
      fc.property(fc.array(float32), (list) => {
        const values = Float32Array.from(list);
        expect(roundToFloat16(values.slice())).toEqual(float16ToFloat32(float32ToFloat16(values)));
        expect(roundToBfloat16(values.slice())).toEqual(bfloat16ToFloat32(float32ToBfloat16(values)));
      }),
    );
  });
});
