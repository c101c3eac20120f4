// swiglu: the gated activation of Llama's MLP.
//   y = silu(gate) * up,   silu(g) = g / (1 + exp(-g))
// Shapes    gate, up f32 [N]; out y f32 [N]  (any shape, flattened)
// Dispatch  one lane per element: (ceil(N/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/swiglu.ts#swigluF64     Gradient: swiglu_grad.wgsl
override WG: u32 = 256u;

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> gate: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.count) { return; }
  y[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
}
