// AssemblyScript helpers shared by the WASM kernels. Included by import; no static data (see scripts/embed-kernels.mjs).

// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}
