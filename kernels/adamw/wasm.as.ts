// AssemblyScript. Pointers are byte offsets into the tfjs heap; [begin, end) is a range of elements.

/** p, m and v move by one AdamW step, in place; scale points to a factor for the gradient. */
export function step(
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  scale: usize,
  decay: f32,
  oneMinusBeta1: f32,
  beta2: f32,
  oneMinusBeta2: f32,
  rootCorrection2: f32,
  epsilon: f32,
  stepSize: f32,
  begin: i32,
  end: i32,
): void {
  const factor = load<f32>(scale);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const gradient = f32x4.mul(v128.load(g + at), f32x4.splat(factor));
    const m0 = v128.load(m + at);
    const m1 = f32x4.add(m0, f32x4.mul(f32x4.sub(gradient, m0), f32x4.splat(oneMinusBeta1)));
    const v1 = f32x4.add(
      f32x4.mul(v128.load(v + at), f32x4.splat(beta2)),
      f32x4.mul(f32x4.mul(gradient, gradient), f32x4.splat(oneMinusBeta2)),
    );
    const denominator = f32x4.add(f32x4.div(f32x4.sqrt(v1), f32x4.splat(rootCorrection2)), f32x4.splat(epsilon));
    const change = f32x4.mul(f32x4.div(m1, denominator), f32x4.splat(stepSize));
    v128.store(m + at, m1);
    v128.store(v + at, v1);
    v128.store(p + at, f32x4.sub(f32x4.mul(v128.load(p + at), f32x4.splat(decay)), change));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const gradient = load<f32>(g + at) * factor;
    const m0 = load<f32>(m + at);
    const m1 = m0 + (gradient - m0) * oneMinusBeta1;
    const v1 = load<f32>(v + at) * beta2 + gradient * gradient * oneMinusBeta2;
    const change = (m1 / (Mathf.sqrt(v1) / rootCorrection2 + epsilon)) * stepSize;
    store<f32>(m + at, m1);
    store<f32>(v + at, v1);
    store<f32>(p + at, load<f32>(p + at) * decay - change);
  }
}

/** s += t. */
export function accumulate(s: usize, t: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(s + at, f32x4.add(v128.load(s + at), v128.load(t + at)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    store<f32>(s + at, load<f32>(s + at) + load<f32>(t + at));
  }
}

/** Σ t² in float64. */
export function sumOfSquares(t: usize, begin: i32, end: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const x = v128.load(t + ((<usize>i) << 2));
    const a = f64x2.promote_low_f32x4(x);
    const b = f64x2.promote_low_f32x4(i64x2.shuffle(x, x, 1, 1));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const lanes = f64x2.add(low, high);
  let sum = f64x2.extract_lane(lanes, 0) + f64x2.extract_lane(lanes, 1);
  for (; i < end; i++) {
    const x = <f64>load<f32>(t + ((<usize>i) << 2));
    sum += x * x;
  }
  return sum;
}

/** Writes √sum. */
export function storeRoot(out: usize, sum: f64): void {
  store<f32>(out, <f32>Math.sqrt(sum));
}
