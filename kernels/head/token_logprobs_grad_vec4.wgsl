// token_logprobs_grad_vec4: as token_logprobs_grad.wgsl, where rows begin on whole vec4s.
//   dlogits[r,v] = scale * dlogprobs[r] * ([v = y] - exp(z[r,v] - logsum[r])),   z = logits * scale
// Shapes    in logits and out dlogits f32 [R,S], columns 0..V, S a multiple of 4 (columns past V are left undefined); tokens
//           i32 [R], -1 = padding -> dlogits 0; logsum, dlogprobs f32 [R]. The entropy has no gradient
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32, element by element
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsGradF64
override WG: u32 = 256u;

struct Params { rows: u32, columns: u32, stride: u32, scale: f32 }  // scale: 1 / temperature
@group(0) @binding(0) var<storage, read_write> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> tokens: array<i32>;
@group(0) @binding(2) var<storage, read> logsum: array<f32>;
@group(0) @binding(3) var<storage, read> dlogprobs: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let columns4 = (params.columns + 3u) / 4u;
  let base = row * (params.stride / 4u);
  let token = tokens[row];
  let pull = params.scale * dlogprobs[row];
  if (token < 0 || pull == 0.0) {
    for (var v = lane; v < columns4; v += WG) { logits[base + v] = vec4f(0.0); }
    return;
  }
  let total = logsum[row];
  for (var v = lane; v < columns4; v += WG) {
    let chosen = select(vec4f(0.0), vec4f(1.0), vec4i(4 * i32(v)) + vec4i(0, 1, 2, 3) == vec4i(token));
    logits[base + v] = pull * (chosen - exp(logits[base + v] * params.scale - total));
  }
}
