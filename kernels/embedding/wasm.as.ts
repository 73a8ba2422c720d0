// AssemblyScript. Pointers are byte offsets into the tfjs heap; rows are contiguous.

/** y[i] = table[ids[i]] for i in [begin, end); zeros where the id is outside [0, vocab). */
export function forward(table: usize, ids: usize, y: usize, vocab: i32, dim: i32, begin: i32, end: i32): void {
  const bytes = (<usize>dim) << 2;
  for (let i = begin; i < end; i++) {
    const id = load<i32>(ids + ((<usize>i) << 2));
    const out = y + <usize>i * bytes;
    if (id >= 0 && id < vocab) memory.copy(out, table + <usize>id * bytes, bytes);
    else memory.fill(out, 0, bytes);
  }
}

/** dtable[v] = Σ over i with ids[i] = v of dy[i], for v in [begin, end) alone. */
export function backward(dy: usize, ids: usize, dtable: usize, count: i32, dim: i32, begin: i32, end: i32): void {
  const bytes = (<usize>dim) << 2;
  const vector = dim & ~3;
  memory.fill(dtable + <usize>begin * bytes, 0, <usize>(end - begin) * bytes);
  for (let i = 0; i < count; i++) {
    const id = load<i32>(ids + ((<usize>i) << 2));
    if (id < begin || id >= end) continue;
    const from = dy + <usize>i * bytes;
    const to = dtable + <usize>id * bytes;
    for (let k = 0; k < vector; k += 4) {
      const at = (<usize>k) << 2;
      v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)));
    }
    for (let k = vector; k < dim; k++) {
      const at = (<usize>k) << 2;
      store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at));
    }
  }
}
