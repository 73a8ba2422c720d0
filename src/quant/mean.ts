/** float32 lanes of the vector registers that torch sums with (AVX2). */
const LANES = 8;
/** Vectors summed side by side. */
const ROWS = 4;
const LEVELS = 4;

/**
 * Mean of float32 values, bit for bit as torch computes it on a CPU with AVX2 in one thread. The double-quantisation
 * offset is such a mean, and one unit in its last place moves 8-bit codes.
 *
 * Order: the array is read as vectors of 8, four of them side by side; each of the 32 running sums is closed after 16
 * additions and carried to the next of four levels (pairwise summation with a base of 2^k); then the levels, then the
 * left-over vectors into the first row, then the rows, then the left-over values, then the 8 lanes in order.
 *
 * Met exactly: all 31 goldens, means of 1 to 704 values. Not checked against torch: longer ones, where the carries to
 * the third and fourth level begin (8192 values) and where torch may share the work among threads (32,768). Torch on
 * AVX-512 or CUDA adds in another order; with 16 lanes 12 of the 31 goldens differ, by 2 units in the last place at
 * most, and so do 8 of 31 when the mean is taken in float64.
 */
export function torchMean(values: Float32Array): number {
  return Math.fround(torchSum(values) / values.length);
}

function torchSum(values: Float32Array): number {
  const vectors = Math.floor(values.length / LANES);
  const steps = Math.floor(vectors / ROWS);
  const sums = cascade(values, steps);
  for (let vector = steps * ROWS; vector < vectors; vector++) {
    for (let lane = 0; lane < LANES; lane++) add(sums, lane, values[vector * LANES + lane] as number);
  }
  for (let row = 1; row < ROWS; row++) {
    for (let lane = 0; lane < LANES; lane++) add(sums, lane, sums[row * LANES + lane] as number);
  }
  let total = 0;
  for (let i = vectors * LANES; i < values.length; i++) total = Math.fround(total + (values[i] as number));
  for (let lane = 0; lane < LANES; lane++) total = Math.fround(total + (sums[lane] as number));
  return total;
}

/** The 32 running sums over the first `steps` groups of 4 vectors. */
function cascade(values: Float32Array, steps: number): Float32Array {
  const width = LANES * ROWS;
  const bitsALevel = Math.max(4, Math.floor(ceilLog2(steps) / LEVELS));
  const stepsALevel = 2 ** bitsALevel;
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
  const [first] = levels as [Float32Array];
  let step = 0;
  const take = (): void => {
    for (let i = 0; i < width; i++) add(first, i, values[step * width + i] as number);
    step++;
  };
  while (step + stepsALevel <= steps) {
    for (let i = 0; i < stepsALevel; i++) take();
    for (let level = 1; level < LEVELS; level++) {
      const from = levels[level - 1] as Float32Array;
      const to = levels[level] as Float32Array;
      for (let i = 0; i < width; i++) add(to, i, from[i] as number);
      from.fill(0);
      if (step % 2 ** (bitsALevel * (level + 1)) !== 0) break;
    }
  }
  while (step < steps) take();
  for (let level = 1; level < LEVELS; level++) {
    const from = levels[level] as Float32Array;
    for (let i = 0; i < width; i++) add(first, i, from[i] as number);
  }
  return first;
}

/** A store into a Float32Array rounds, and one addition of float32 values in float64 is exact enough to round once. */
function add(sums: Float32Array, i: number, value: number): void {
  sums[i] = (sums[i] as number) + value;
}

function ceilLog2(x: number): number {
  return x <= 2 ? 1 : 32 - Math.clz32(x - 1);
}
