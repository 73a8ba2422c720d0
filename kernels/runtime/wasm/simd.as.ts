// AssemblyScript helpers shared by the WASM kernels. Included by import; no static data (see
// scripts/embed-kernels.mjs).

/**
 * Whether the engine makes one instruction of 256 bits of two neighbours of 128: scripts/embed-kernels.mjs compiles for
 * both.
 */
export const WIDE: bool = false;

/**
 * a · b + c in each lane. Rounded once where the module is compiled with relaxed SIMD and the processor can do it, else
 * twice: the same on all threads of a process, though not on all machines.
 */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

@inline
export function sumLanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** Bytes of the table of constants that exponentials read. */
export const EXP_TABLE: i32 = 48;

/**
 * Writes that table. V8 builds a constant of 128 bits anew wherever one is used, which takes longer than reading it:
 * from memory eˣ takes half the time.
 */
export function fillExpTable(to: usize): void {
  store<f32>(to, -87);
  store<f32>(to, 88.02, 4);
  store<f32>(to, 1.44269504, 8);
  store<f32>(to, 12582912 + 127, 12);
  store<f32>(to, 0.693359375, 16);
  store<f32>(to, 2.1219444e-4, 20);
  store<f32>(to, 0.00138146132, 24);
  store<f32>(to, 0.00836870993, 28);
  store<f32>(to, 0.0416683874, 32);
  store<f32>(to, 0.166665207, 36);
  store<f32>(to, 0.499999935, 40);
  store<f32>(to, 1, 44);
}

/** 1 in each lane. */
@inline
export function oneLanes(table: usize): v128 {
  return v128.load32_splat(table, 44);
}

/** −87 in each lane, the lowest that `expWithin` takes. */
@inline
export function lowestExponent(table: usize): v128 {
  return v128.load32_splat(table);
}

/**
 * eˣ in each lane for −87 ≤ x ≤ 88.02, relative error below 1e-7 plus rounding: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a
 * degree-6 polynomial in r fitted by least maximum error with the first two terms fixed, times 2ⁿ. NaN stays NaN.
 * `table`: what `fillExpTable` has written.
 */
@inline
export function expWithin(x: v128, table: usize): v128 {
  const log2e = v128.load32_splat(table, 8);
  const rounding = v128.load32_splat(table, 12);
  const coarse = v128.load32_splat(table, 16);
  const fine = v128.load32_splat(table, 20);
  const a6 = v128.load32_splat(table, 24);
  const a5 = v128.load32_splat(table, 28);
  const a4 = v128.load32_splat(table, 32);
  const a3 = v128.load32_splat(table, 36);
  const a2 = v128.load32_splat(table, 40);
  return exponential(x, log2e, rounding, coarse, fine, a6, a5, a4, a3, a2, oneLanes(table));
}

/**
 * Stores `expWithin` of x and, 16 bytes on, of y, where the masks have bits, and 0 elsewhere. Each constant is read
 * once for both: two broadcasts of the same bytes V8 does not join.
 */
@inline
export function storeExpWithin(to: usize, x: v128, y: v128, maskX: v128, maskY: v128, table: usize): void {
  const log2e = v128.load32_splat(table, 8);
  const rounding = v128.load32_splat(table, 12);
  const coarse = v128.load32_splat(table, 16);
  const fine = v128.load32_splat(table, 20);
  const a6 = v128.load32_splat(table, 24);
  const a5 = v128.load32_splat(table, 28);
  const a4 = v128.load32_splat(table, 32);
  const a3 = v128.load32_splat(table, 36);
  const a2 = v128.load32_splat(table, 40);
  const one = oneLanes(table);
  const ex = exponential(x, log2e, rounding, coarse, fine, a6, a5, a4, a3, a2, one);
  const ey = exponential(y, log2e, rounding, coarse, fine, a6, a5, a4, a3, a2, one);
  v128.store(to, v128.and(ex, maskX));
  v128.store(to, v128.and(ey, maskY), 16);
}

@inline
function exponential(
  x: v128,
  log2e: v128,
  rounding: v128,
  coarse: v128,
  fine: v128,
  a6: v128,
  a5: v128,
  a4: v128,
  a3: v128,
  a2: v128,
  one: v128,
): v128 {
  // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits; 127 more make it the exponent of 2ⁿ.
  const shifted = madd(x, log2e, rounding);
  const n = f32x4.sub(shifted, rounding);
  // ln 2 in two parts: the first has few bits, so that n times it is exact.
  const r = madd(n, fine, f32x4.sub(x, f32x4.mul(n, coarse)));
  let q = madd(r, a6, a5);
  q = madd(r, q, a4);
  q = madd(r, q, a3);
  q = madd(r, q, a2);
  const e = f32x4.add(one, madd(f32x4.mul(r, r), q, r));
  // A product, exact here: a sum of integers would turn a NaN with low bits into a number.
  return f32x4.mul(e, i32x4.shl(shifted, 23));
}

/** eˣ in each lane as `expWithin`; 0 below −87, at most 1.7e38, NaN stays NaN. */
@inline
export function expLanes(x: v128, table: usize): v128 {
  const lowest = lowestExponent(table);
  // Not min and max: what those do about NaN takes several instructions. These give back a NaN that is their first
  // operand.
  const t = f32x4.pmin(f32x4.pmax(x, lowest), v128.load32_splat(table, 4));
  return v128.andnot(expWithin(t, table), f32x4.lt(x, lowest));
}

/** eˣ of one value, as `expLanes`. */
@inline
export function expScalar(x: f32, table: usize): f32 {
  return f32x4.extract_lane(expLanes(f32x4.splat(x), table), 0);
}
