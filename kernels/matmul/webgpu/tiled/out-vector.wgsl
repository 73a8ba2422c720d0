// C `[m, n]` with n a multiple of 4.
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;

fn store(m: u32, n: u32, values: vec4f) { out[(m * params.out_stride + n) / 4u] = values; }

fn stored(m: u32, n: u32) -> vec4f { return out[(m * params.out_stride + n) / 4u]; }
