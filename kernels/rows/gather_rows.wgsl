// gather_rows: picks rows.
//   y[m,d] = x[rows[m], d]
// Shapes    x f32 [N,D]; rows i32 [M], -1 = nothing -> 0; out y f32 [M,D]
// Dispatch  one lane per element: (ceil(M*D/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/gather_rows.ts#gatherRowsF64     Gradient: gather_rows.wgsl with the inverse rows
override WG: u32 = 256u;

struct Params { picked: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.picked * params.width) { return; }
  let row = rows[i / params.width];
  if (row < 0) {
    y[i] = 0.0;
  } else {
    y[i] = x[u32(row) * params.width + i % params.width];
  }
}
