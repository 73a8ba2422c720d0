// AssemblyScript: a gradient that came in up to three parts, d0 and those of d1 and d2 that are not 0. See summands.ts.

/** Four elements of the sum. */
@inline
export function sumOfParts(d0: usize, d1: usize, d2: usize, at: usize): v128 {
  let sum = v128.load(d0 + at);
  if (d1 != 0) sum = f32x4.add(sum, v128.load(d1 + at));
  if (d2 != 0) sum = f32x4.add(sum, v128.load(d2 + at));
  return sum;
}

/** One element of the sum. */
@inline
export function sumOfPart(d0: usize, d1: usize, d2: usize, at: usize): f32 {
  let sum = load<f32>(d0 + at);
  if (d1 != 0) sum += load<f32>(d1 + at);
  if (d2 != 0) sum += load<f32>(d2 + at);
  return sum;
}
