// What the shaders over several products share: their parameters, and where the results go. The lines with a mark are filled in by job-text.ts.
struct Job { m: u32, n: u32, first_group: u32, groups_n: u32, first_segment: u32, end_segment: u32, bias_offset: u32, unused: u32 }
struct Segment {
  m: u32, n: u32, k: u32,
  scale: f32,
  // Offset and length of a row of each operand.
  a: vec2u, b: vec2u,
  // Those below are the 4-bit weights': see ../nf4-dequantize/decode.wgsl.
  offset: f32, zero: u32, nested: u32, rounding: u32,
}
// Rows [begin, end) of its job are this output's.
struct Out { offset: u32, stride: u32, begin: u32, end: u32 }
struct Params { jobs: array<Job, $jobs>, segments: array<Segment, $segments>, outs: array<Out, $outs> }

fn bias_of(job: u32, n: u32, width: u32) -> vec4f {
  switch job {
    // #biases
    default: { return vec4f(); }
  }
}

fn store(job: u32, m: u32, n: u32, values: vec4f) {
  if (m >= params.jobs[job].m || n >= params.jobs[job].n) { return; }
  // #outs
}
