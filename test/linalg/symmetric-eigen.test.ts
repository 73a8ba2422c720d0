import { describe, expect, it } from 'vitest';
import { symmetricEigen, symmetricEigenvalues } from '../../src/linalg/symmetric-eigen.js';
import { Random } from '../../src/random.js';
import { normals } from '../support/numeric.js';

describe('the eigenvalues and vectors of a symmetric matrix', () => {
  it('make the matrix again, and the vectors are orthonormal', () => {
    for (const n of [1, 2, 3, 8, 31]) {
      const random = normals(new Random(n, 'eigen'), n * n, 1);
      const s = Float64Array.from(
        { length: n * n },
        (_, k) => (random[k] as number) + (random[(k % n) * n + Math.floor(k / n)] as number),
      );
      const { values, vectors } = symmetricEigen(s, n);
      expect([...values]).toEqual([...values].sort((a, b) => b - a));
      symmetricEigenvalues(s, n).forEach((value, k) => expect(value).toBeCloseTo(values[k] as number, 11));
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          let [again, product] = [0, 0];
          for (let k = 0; k < n; k++) {
            again += (values[k] as number) * (vectors[k * n + i] as number) * (vectors[k * n + j] as number);
            product += (vectors[i * n + k] as number) * (vectors[j * n + k] as number);
          }
          expect(again).toBeCloseTo(s[i * n + j] as number, 11);
          expect(product).toBeCloseTo(i === j ? 1 : 0, 12);
        }
      }
    }
  });

  it('come out of matrices that are diagonal, zero or of one direction', () => {
    expect([...symmetricEigenvalues(Float64Array.of(1, 0, 0, 0, 3, 0, 0, 0, 2), 3)]).toEqual([3, 2, 1]);
    expect([...symmetricEigen(new Float64Array(16), 4).values]).toEqual([0, 0, 0, 0]);
    const [first, ...others] = symmetricEigenvalues(new Float64Array(25).fill(2), 5);
    expect(first).toBeCloseTo(10, 12);
    for (const value of others) expect(value).toBeCloseTo(0, 12);
  });
});
