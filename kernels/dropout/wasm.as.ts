// AssemblyScript. Pointers are byte offsets into the tfjs heap; [begin, end) is a range of elements.

/** mix32 of hash.ts in each lane. */
@inline
function mix(value: v128): v128 {
  let h = i32x4.mul(v128.xor(value, i32x4.shr_u(value, 16)), i32x4.splat(0x7feb352d));
  h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 15)), i32x4.splat(0x846ca68b));
  return v128.xor(h, i32x4.shr_u(h, 16));
}

/** The factors of the four elements whose counters are given. */
@inline
function factors(counters: v128, first: v128, second: v128, threshold: v128, kept: v128): v128 {
  const bits = mix(i32x4.add(mix(v128.xor(counters, first)), second));
  return v128.andnot(kept, i32x4.lt_u(bits, threshold));
}

/** y = x · mask; see hash.ts for the keys. */
export function dropout(
  x: usize,
  y: usize,
  firstKey: i32,
  secondKey: i32,
  start: i32,
  threshold: i32,
  kept: f32,
  begin: i32,
  end: i32,
): void {
  const first = i32x4.splat(firstKey);
  const second = i32x4.splat(secondKey);
  const limit = i32x4.splat(threshold);
  const scale = f32x4.splat(kept);
  let counters = i32x4.add(i32x4.splat(start + begin), i32x4(0, 1, 2, 3));
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(y + at, f32x4.mul(v128.load(x + at), factors(counters, first, second, limit, scale)));
    counters = i32x4.add(counters, i32x4.splat(4));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const factor = factors(i32x4.splat(start + i), first, second, limit, scale);
    store<f32>(y + at, load<f32>(x + at) * f32x4.extract_lane(factor, 0));
  }
}
