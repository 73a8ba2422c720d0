import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bucketOf, CODE_SEARCH, FP4_CODE, NF4_CODE } from '../../src/quant/nf4.js';
import { differing, GOLDEN } from './golden.js';

const thresholds = JSON.parse(readFileSync(`${GOLDEN}/thresholds.json`, 'utf8')) as {
  nf4_midpoints_f32_hex: string[];
  fp4_midpoints_torch_default_backend: number[];
  fp4_sorted_order_nibbles: number[];
};

function fromHex(hex: string): number {
  return Buffer.from(hex, 'hex').readFloatLE();
}

describe('4-bit tables', () => {
  it('has the values of bitsandbytes bit for bit', () => {
    expect(differing(NF4_CODE, 'nf4.f32')).toBe(0);
    expect(differing(FP4_CODE, 'fp4.f32')).toBe(0);
  });

  it('has the float32 midpoints and the order of the codes', () => {
    expect([...CODE_SEARCH.nf4.midpoints].slice(0, 15)).toEqual(thresholds.nf4_midpoints_f32_hex.map(fromHex));
    expect([...CODE_SEARCH.fp4.midpoints].slice(0, 15)).toEqual(
      thresholds.fp4_midpoints_torch_default_backend.map((value) => Math.fround(value)),
    );
    expect([...CODE_SEARCH.fp4.ranks]).toEqual(thresholds.fp4_sorted_order_nibbles);
  });

  it.each(['nf4', 'fp4'] as const)('keeps at most one midpoint of %s in a bucket', (type) => {
    const buckets = [...CODE_SEARCH[type].midpoints].slice(0, 15).map(bucketOf);
    expect(new Set(buckets).size).toBe(15);
  });
});
