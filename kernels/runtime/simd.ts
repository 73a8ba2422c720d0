// AssemblyScript helpers shared by the WASM kernels. Included by import; no static data (see scripts/embed-kernels.mjs).

/**
 * a · b + c in each lane. Rounded once where the module is compiled with relaxed SIMD and the processor can do it, else twice: the same
 * on all threads of a process, though not on all machines.
 */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

@inline
export function sumLanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/**
 * eˣ in each lane, relative error below 1e-7 plus rounding: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a degree-6 polynomial in r fitted by
 * least maximum error with the first two terms fixed, and n added to the exponent. 0 below −87, at most 1.7e38, NaN stays NaN.
 */
@inline
export function expLanes(x: v128): v128 {
  const lowest = f32x4.splat(-87);
  // Not min and max: what those do about NaN takes several instructions. These give back a NaN that is their first operand.
  const t = f32x4.pmin(f32x4.pmax(x, lowest), f32x4.splat(88.02));
  // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
  const shifted = madd(t, f32x4.splat(1.44269504), f32x4.splat(12582912));
  const n = f32x4.sub(shifted, f32x4.splat(12582912));
  // ln 2 in two parts: the first has few bits, so that n times it is exact.
  const r = madd(n, f32x4.splat(2.12194440e-4), f32x4.sub(t, f32x4.mul(n, f32x4.splat(0.693359375))));
  let q = madd(r, f32x4.splat(0.00138146132), f32x4.splat(0.00836870993));
  q = madd(r, q, f32x4.splat(0.0416683874));
  q = madd(r, q, f32x4.splat(0.166665207));
  q = madd(r, q, f32x4.splat(0.499999935));
  const e = f32x4.add(f32x4.splat(1), madd(f32x4.mul(r, r), q, r));
  return v128.andnot(i32x4.add(e, i32x4.shl(shifted, 23)), f32x4.lt(x, lowest));
}

/** eˣ of one value, as `expLanes`. */
@inline
export function expScalar(x: f32): f32 {
  return f32x4.extract_lane(expLanes(f32x4.splat(x)), 0);
}
