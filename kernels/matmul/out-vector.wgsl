// C `[m, n]` with n a multiple of 4.
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;

fn store(m: u32, n: u32, values: vec4f) { out[(m * params.n + n) / 4u] = values; }
