// swiglu_grad_vec4: as swiglu_grad.wgsl, where N is a multiple of 4.
//   s = 1 / (1 + exp(-gate));  dgate = dy * up * s * (1 + gate * (1 - s));  dup = dy * gate * s
// Shapes    gate, up, dy f32 [N]; out dgate, dup f32 [N]  (any shape, flattened); N a multiple of 4
// Dispatch  one workgroup per SPAN vec4s: (ceil(N/4 / SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/swiglu.ts#swigluGradF64
override WG: u32 = 64u;

const SPAN = 256u;  // of gpu/grids.ts

struct Params { count4: u32 }
@group(0) @binding(0) var<storage, read> gate: array<vec4f>;
@group(0) @binding(1) var<storage, read> up: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dgate: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> dup: array<vec4f>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * SPAN;
  for (var i = begin + lane; i < min(begin + SPAN, params.count4); i += WG) {
    let g = gate[i];
    let d = dy[i];
    let s = 1.0 / (1.0 + exp(-g));
    dgate[i] = d * up[i] * s * (1.0 + g * (1.0 - s));
    dup[i] = d * g * s;
  }
}
