// rope: rotary position embedding, Hugging Face Llama convention (first half of a head against its second half).
//   y[n,h,c]      = x[n,h,c] cos[t,c] - s x[n,h,c+D/2] sin[t,c]      t = positions[n], c < D/2
//   y[n,h,c+D/2]  = x[n,h,c+D/2] cos[t,c] + s x[n,h,c] sin[t,c]      s = +1, or -1 for the inverse (its gradient)
// Shapes    x f32 [N,H*D]; positions i32 [N]; cos, sin f32 [P,D/2]; out y f32 [N,H*D]; D a multiple of 4
// Dispatch  one lane per two pairs of four heads: ceil(N * ceil(H/4) * D/4 / WG) workgroups, folded to 2-D past 65535
// Numerics  f32; cos and sin come from a table made in f64, as in-shader sin is not accurate at large angles
// Twin      src/ops/attention/rope.ts#ropeF64     Gradient: this kernel with sign = -1
override WG: u32 = 64u;

const HEADS_PER_LANE = 4u;

struct Params { count: u32, heads: u32, quarter: u32, last_position: u32, sign: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec2f>;
@group(0) @binding(1) var<storage, read> positions: array<i32>;
@group(0) @binding(2) var<storage, read> cosines: array<vec2f>;
@group(0) @binding(3) var<storage, read> sines: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec2f>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * WG + lane;
  if (index >= params.count) { return; }
  let units = (params.heads + HEADS_PER_LANE - 1u) / HEADS_PER_LANE;  // of a row
  let unit = index / params.quarter;
  let c = index - unit * params.quarter;
  let n = unit / units;
  let first_head = (unit - n * units) * HEADS_PER_LANE;
  let position = min(u32(positions[n]), params.last_position);
  let cosine = cosines[position * params.quarter + c];
  let sine = sines[position * params.quarter + c] * params.sign;
  for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.heads); head++) {
    let first = (n * params.heads + head) * 2u * params.quarter + c;
    let second = first + params.quarter;
    let a = x[first];
    let b = x[second];
    y[first] = a * cosine - b * sine;
    y[second] = b * cosine + a * sine;
  }
}
