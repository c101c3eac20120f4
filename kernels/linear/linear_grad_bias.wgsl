// linear_grad_bias: the gradient of a linear layer with respect to its bias, added to what is there.
//   db[n] += sum_m dy[m,n]
// Shapes    dy f32 [M,S], of which columns 0..N count; in and out db f32 [N]
// Dispatch  one lane per column: (ceil(N / WG), 1, 1)
// Numerics  f32, rows m strictly in order, so splitting them over several calls gives the same bits
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::grid::WG;

struct Params { rows: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> db: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = id.x;
  if (n >= params.columns) { return; }
  var sum = db[n];
  for (var m = 0u; m < params.rows; m++) {
    sum += dy[m * params.stride + n];
  }
  db[n] = sum;
}
