// add: elementwise sum with a scale on the second term: the residual connection, and adapters.
//   y = a + s b      ONLY_B: y = s b (the gradient of b)
// Shapes    a, b f32 [N]; out y f32 [N]  (any shape, flattened)
// Dispatch  one lane per element: (ceil(N/WG),1,1), folded to 2-D past 65535
// Numerics  one fma; with s = 1 that is the f32 sum
// Twin      src/ops/elementwise/add.ts#addF64     Gradient: dy for a, s dy for b
override WG: u32 = 256u;
override ONLY_B: bool = false;

struct Params { count: u32, s: f32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i < params.count) {
    if (ONLY_B) { y[i] = params.s * b[i]; } else { y[i] = fma(params.s, b[i], a[i]); }
  }
}
