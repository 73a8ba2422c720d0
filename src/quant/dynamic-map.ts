import { midpointsOf } from './nf4.js';

/**
 * The signed 8-bit dynamic map: 256 ascending values. For i = 0 … 6, the means of neighbouring points of a float32
 * linspace(0.1, 1) of 2^i + 1 points, times ±10^(i−6); and 0 and 1.
 * Source: Dettmers, "8-bit approximations for parallelism in deep learning" (2016); the values of bitsandbytes.
 */
export function dynamicMap(): Float32Array {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const points = linspace(2 ** i + 1);
    const scale = Math.fround(10 ** (i - 6));
    for (const mean of midpointsOf(points)) values.push(Math.fround(scale * mean), -Math.fround(scale * mean));
  }
  return Float32Array.from(values).sort();
}

export const DYNAMIC_MAP: Float32Array = dynamicMap();
const MIDPOINTS = midpointsOf(DYNAMIC_MAP);

/**
 * torch's float32 linspace(0.1, 1): counted from both ends, each point by one fused multiply-add. In float64 the
 * product and the sum below are exact, so rounding once gives what the fused operation gives.
 */
function linspace(count: number): Float32Array {
  const start = Math.fround(0.1);
  const step = Math.fround(Math.fround(1 - start) / (count - 1));
  return Float32Array.from({ length: count }, (_, k) =>
    k < count >> 1 ? start + step * k : 1 - step * (count - 1 - k),
  );
}

/** Index of the nearest value of the map; a tie takes the lower one. `x` in [−1, 1]. */
export function nearestDynamic(x: number): number {
  let low = 0;
  let high = MIDPOINTS.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((MIDPOINTS[middle] as number) < x) low = middle + 1;
    else high = middle;
  }
  return low;
}
