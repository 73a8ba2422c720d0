import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { meanTable, rightDirections, subspaceSimilarity, updateSpectrum } from '../../src/ablation/subspace.js';
import { truncatedSvd } from '../../src/linalg/truncated-svd.js';
import { Random } from '../../src/random.js';
import { normals } from '../support/numeric.js';

/** Rows of the identity, `[indices, size]`. */
function axes(size: number, ...indices: number[]): Float64Array {
  const rows = new Float64Array(indices.length * size);
  indices.forEach((at, i) => (rows[i * size + at] = 1));
  return rows;
}

describe('the similarity of subspaces', () => {
  it('is 1 for equal spaces, whatever turns their directions, and 0 for orthogonal ones', () => {
    const phi = subspaceSimilarity(axes(5, 0, 1), 2, axes(5, 0, 1), 2);
    expect(phi).toEqual([
      [1, 1],
      [1, 1],
    ]);
    const half = Math.SQRT1_2;
    const turned = Float64Array.of(half, half, 0, 0, 0, half, -half, 0, 0, 0);
    const against = subspaceSimilarity(turned, 2, axes(5, 0, 1), 2);
    expect(against[0]?.[0]).toBeCloseTo(0.5, 12);
    expect(against[1]?.[1]).toBeCloseTo(1, 12);
    expect(subspaceSimilarity(axes(5, 0, 1), 2, axes(5, 2, 3, 4), 3).flat()).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('counts what is shared by the smaller of the two', () => {
    // {0, 1} and {1, 2, 0}: of the first i and j directions 0, 0, 1 and 1, 1, 2 are shared.
    expect(subspaceSimilarity(axes(4, 0, 1), 2, axes(4, 1, 2, 0), 3)).toEqual([
      [0, 0, 1],
      [1, 0.5, 1],
    ]);
  });

  it('has its mean over modules as far as the smallest table goes', () => {
    expect(
      meanTable([
        [
          [1, 0],
          [0, 1],
        ],
        [[0, 1, 5]],
      ]),
    ).toEqual([[0.5, 0.5]]);
    expect(meanTable([])).toEqual([]);
  });

  it('takes the right singular directions of A, the strongest first', () => {
    // 3·e₂ and 1·e₀, mixed by a rotation of the rows.
    const [cos, sin] = [Math.cos(0.3), Math.sin(0.3)];
    const a = Float32Array.of(-sin, 0, 3 * cos, cos, 0, 3 * sin);
    const found = rightDirections({ a, rank: 2, inFeatures: 3 });
    const phi = subspaceSimilarity(found, 2, axes(3, 2, 0), 2);
    expect(phi[0]?.[0]).toBeCloseTo(1, 6);
    expect(phi[1]?.[1]).toBeCloseTo(1, 6);
    expect(subspaceSimilarity(found.subarray(0, 3), 1, axes(3, 0), 1)[0]?.[0]).toBeCloseTo(0, 6);
  });
});

it('the directions of a wide A, and of one with more rows than columns, are those of its whole decomposition', () => {
  for (const [rank, inFeatures] of [
    [6, 40],
    [9, 5],
  ] as const) {
    const a = normals(new Random(5, 'directions'), rank * inFeatures, 1);
    const count = Math.min(rank, inFeatures);
    const wanted = truncatedSvd(a, rank, inFeatures, rank).vt;
    const phi = subspaceSimilarity(rightDirections({ a, rank, inFeatures }), count, wanted, count);
    for (let i = 0; i < count; i++) expect(phi[i]?.[i]).toBeCloseTo(1, 6);
  }
});

describe('the spectrum of an update', () => {
  it('is that of the dense product, without making it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(1000),
        (rank, inFeatures, outFeatures, seed) => {
          const random = new Random(seed, 'spectrum');
          const [a, b] = [normals(random, rank * inFeatures, 1), normals(random, outFeatures * rank, 1)];
          const scale = 2;
          const dense = Float32Array.from({ length: outFeatures * inFeatures }, (_, k) => {
            let sum = 0;
            for (let c = 0; c < rank; c++)
              sum +=
                (b[Math.floor(k / inFeatures) * rank + c] as number) * (a[c * inFeatures + (k % inFeatures)] as number);
            return scale * sum;
          });
          const wanted = truncatedSvd(dense, outFeatures, inFeatures, Math.min(rank, inFeatures, outFeatures)).s;
          const found = updateSpectrum({ a, b, rank, inFeatures, outFeatures, scale });
          // float32 in both: relative to the largest value.
          wanted.forEach((value, i) =>
            expect(Math.abs((found[i] ?? 0) - value)).toBeLessThan(1e-5 * (1 + (wanted[0] as number))),
          );
          found.slice(wanted.length).forEach((value) => expect(value).toBeLessThan(1e-5 * (1 + (wanted[0] as number))));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('is zero for B = 0', () => {
    expect(
      updateSpectrum({
        a: Float32Array.of(1, 2),
        b: new Float32Array(3),
        rank: 1,
        inFeatures: 2,
        outFeatures: 3,
        scale: 1,
      }),
    ).toEqual([0]);
  });
});

it('directions that are rounding alone are left at zero', () => {
  // Two equal rows: one direction.
  const found = rightDirections({ a: Float32Array.of(1, 2, 2, 1, 2, 2), rank: 2, inFeatures: 3 });
  [1 / 3, 2 / 3, 2 / 3].forEach((value, j) => expect(Math.abs(found[j] as number)).toBeCloseTo(value, 12));
  expect([...found.subarray(3)].map(Math.abs)).toEqual([0, 0, 0]);
});
