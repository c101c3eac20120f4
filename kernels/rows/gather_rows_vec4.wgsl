// gather_rows_vec4: as gather_rows.wgsl, where the width is a multiple of 4.
//   y[m,d] = x[rows[m], d]
// Shapes    x f32 [N,D]; rows i32 [M], -1 = nothing -> 0; out y f32 [M,D]; D a multiple of 4
// Dispatch  one workgroup per `share` rows: (ceil(M/share),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/gather_rows.ts#gatherRowsF64     Gradient: gather_rows_vec4.wgsl with the inverse rows
override WG: u32 = 64u;

struct Params { picked: u32, width4: u32, share: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> rows: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * params.share;
  for (var m = begin; m < min(begin + params.share, params.picked); m++) {
    let row = rows[m];
    let to = m * params.width4;
    if (row < 0) {
      for (var d = lane; d < params.width4; d += WG) { y[to + d] = vec4f(0.0); }
    } else {
      let from_row = u32(row) * params.width4;
      for (var d = lane; d < params.width4; d += WG) { y[to + d] = x[from_row + d]; }
    }
  }
}
