// add_vec4: as add.wgsl, with the same bits, where N is a multiple of 4.
//   y = a + s b      ONLY_B: y = s b (the gradient of b)
// Shapes    a, b f32 [N]; out y f32 [N]  (any shape, flattened); N a multiple of 4
// Dispatch  one workgroup per SPAN vec4s: (ceil(N/4 / SPAN),1,1), folded to 2-D past 65535
// Numerics  one fma; with s = 1 that is the f32 sum
// Twin      src/ops/elementwise/add.ts#addF64     Gradient: dy for a, s dy for b
override ONLY_B: bool = false;
override WG: u32 = 64u;

const SPAN = 256u;  // of gpu/grids.ts

struct Params { count4: u32, s: f32 }
@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * SPAN;
  for (var i = begin + lane; i < min(begin + SPAN, params.count4); i += WG) {
    if (ONLY_B) { y[i] = params.s * b[i]; } else { y[i] = fma(vec4f(params.s), b[i], a[i]); }
  }
}
