// add: elementwise sum, the residual connection.
//   y = a + b
// Shapes    a, b f32 [N]; out y f32 [N]  (any shape, flattened)
// Dispatch  one lane per element: (ceil(N/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/add.ts#addF64     Gradient: dy for both
override WG: u32 = 256u;

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i < params.count) { y[i] = a[i] + b[i]; }
}
