// swiglu_grad: gradient of swiglu with respect to both inputs.
//   s = 1 / (1 + exp(-gate));  dgate = dy * up * s * (1 + gate * (1 - s));  dup = dy * gate * s
// Shapes    gate, up, dy f32 [N]; out dgate, dup f32 [N]  (any shape, flattened)
// Dispatch  one lane per element: (ceil(N/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/swiglu.ts#swigluGradF64
override WG: u32 = 256u;

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> gate: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dgate: array<f32>;
@group(0) @binding(4) var<storage, read_write> dup: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.count) { return; }
  let g = gate[i];
  let s = 1.0 / (1.0 + exp(-g));
  dgate[i] = dy[i] * up[i] * s * (1.0 + g * (1.0 - s));
  dup[i] = dy[i] * g * s;
}
