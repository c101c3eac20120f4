// swiglu_vec4: as swiglu.wgsl, where N is a multiple of 4.
//   y = silu(gate) * up,   silu(g) = g / (1 + exp(-g))
// Shapes    gate, up f32 [N]; out y f32 [N]  (any shape, flattened); N a multiple of 4
// Dispatch  one workgroup per SPAN vec4s: (ceil(N/4 / SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/swiglu.ts#swigluF64     Gradient: swiglu_grad_vec4.wgsl
override WG: u32 = 64u;

const SPAN = 256u;  // of gpu/grids.ts

struct Params { count4: u32 }
@group(0) @binding(0) var<storage, read> gate: array<vec4f>;
@group(0) @binding(1) var<storage, read> up: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * SPAN;
  for (var i = begin + lane; i < min(begin + SPAN, params.count4); i += WG) {
    let g = gate[i];
    y[i] = g / (1.0 + exp(-g)) * up[i];
  }
}
