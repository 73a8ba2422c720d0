// What this invocation brings of B's tile of segment INDEX at (n0, k0), rounded to the type of the matrices; zeros outside of B.
fn unit_b_INDEX(index: u32, n0: u32, k0: u32) -> vec4u {
  let row = index / B_WIDTH;
  let column = PER * (index % B_WIDTH);
  let at = select(vec2u(k0 + row, n0 + column), vec2u(n0 + row, k0 + column), ALONG_K);
  let size = select(vec2u(params.segments[INDEX].k, params.segments[INDEX].n), vec2u(params.segments[INDEX].n, params.segments[INDEX].k), ALONG_K);
  let eight = read_eight_INDEX(at.x, at.y, size);
  return unit_of(eight[0], eight[1]);
}

fn fetch_b_INDEX(n0: u32, k0: u32, lane: u32) -> array<vec4u, B_EACH> {
  var units: array<vec4u, B_EACH>;
  units[$i] = unit_b_INDEX(lane + $iu * THREADS, n0, k0); // #each b_units
  return units;
}
