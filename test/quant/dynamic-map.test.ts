import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DYNAMIC_MAP, nearestDynamic } from '../../src/quant/dynamic-map.js';
import { quantize8bit } from '../../src/quant/quantize.js';
import { differing, goldenFloats } from './golden.js';

describe('dynamic map', () => {
  it('has the 256 values of published checkpoints bit for bit', () => {
    expect(differing(DYNAMIC_MAP, 'dynamic_map_signed.f32')).toBe(0);
  });

  it('finds the nearest value, the lower one in a tie', () => {
    fc.assert(
      fc.property(fc.float({ min: -1, max: 1, noNaN: true }), (x) => {
        const found = DYNAMIC_MAP[nearestDynamic(x)] as number;
        const least = Math.min(...Array.from(DYNAMIC_MAP, (value) => Math.abs(value - x)));
        // Midpoints are rounded to float32: at a midpoint the other neighbour may be nearer by that rounding.
        expect(Math.abs(found - x)).toBeLessThanOrEqual(least + 2 ** -24);
      }),
    );
    for (let i = 0; i < 256; i++) expect(nearestDynamic(DYNAMIC_MAP[i] as number)).toBe(i);
    const tie = Math.fround(((DYNAMIC_MAP[200] as number) + (DYNAMIC_MAP[201] as number)) / 2);
    expect(nearestDynamic(tie)).toBe(200);
  });

  it.each(['v1_normal_4096', 'v2_student_t_8229', 'v3_bf16_64x192', 'v4_rows_160x128'])(
    'quantises %s to 8 bits like bitsandbytes (0 bits of difference)',
    (name) => {
      const { codes, absmax } = quantize8bit(goldenFloats(`golden/${name}/input.f32`), 256);
      expect(differing(codes, `golden/${name}/dyn8_bs256.q.u8`)).toBe(0);
      expect(differing(absmax, `golden/${name}/dyn8_bs256.absmax.f32`)).toBe(0);
      const dequantised = Float32Array.from(
        codes,
        (code, i) => (DYNAMIC_MAP[code] as number) * (absmax[i >> 8] as number),
      );
      expect(differing(dequantised, `golden/${name}/dyn8_bs256.dequant.f32`)).toBe(0);
    },
  );
});
