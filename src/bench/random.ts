import { Random } from '../random.js';

const POOL_SIZE = 1 << 20;
let pool: Float32Array | undefined;

/**
 * Normal values with deviation 0.02. Drawing hundreds of millions of them would take longer than the bench: every array
 * is cut from one pool of a million, from a place that `seed` decides, and goes round.
 */
export function weightValues(count: number, seed: number): Float32Array {
  const random = new Random(seed, 'place');
  pool ??= drawPool();
  const values = new Float32Array(count);
  let from = random.below(POOL_SIZE);
  for (let at = 0; at < count;) {
    const piece = pool.subarray(from, Math.min(POOL_SIZE, from + count - at));
    values.set(piece, at);
    at += piece.length;
    from = 0;
  }
  return values;
}

/** Uniform token ids. */
export function tokenValues(count: number, vocab: number, seed: number): Int32Array {
  const random = new Random(seed, 'tokens');
  return Int32Array.from({ length: count }, () => random.below(vocab));
}

function drawPool(): Float32Array {
  const random = new Random(1, 'weights');
  return Float32Array.from({ length: POOL_SIZE }, () => 0.02 * random.normal());
}
