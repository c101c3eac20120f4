// token_logprobs_grad: gradient of token_logprobs with respect to the logits, in the place of the logits.
//   dlogits[r,v] = scale * dlogprobs[r] * ([v = y] - exp(z[r,v] - logsum[r])),   z = logits * scale
// Shapes    in logits and out dlogits f32 [R,S], columns 0..V; tokens i32 [R], -1 = padding -> dlogits 0;
//           logsum, dlogprobs f32 [R]. The entropy is for logging only: it has no gradient
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32, element by element
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsGradF64
override WG: u32 = 32u;

struct Params { rows: u32, columns: u32, stride: u32, scale: f32 }  // scale: 1 / temperature
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<i32>;
@group(0) @binding(2) var<storage, read> logsum: array<f32>;
@group(0) @binding(3) var<storage, read> dlogprobs: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.stride;
  let token = tokens[row];
  let pull = params.scale * dlogprobs[row];
  for (var v = lane; v < params.columns; v += WG) {
    let chosen = select(0.0, 1.0, i32(v) == token);
    let dlogit = pull * (chosen - exp(logits[base + v] * params.scale - logsum[row]));
    logits[base + v] = select(dlogit, 0.0, token < 0 || pull == 0.0);
  }
}
