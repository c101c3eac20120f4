// rms_norm_weight_grad_slabs: rms_norm_weight_grad.wgsl for GPUs.
//   dw[d] += sum_r dy[r,d] * x[r,d] * rstd[r]
// Shapes    x, dy f32 [R,D]; rstd f32 [R]; in and out dw f32 [D]
// Dispatch  COLUMNS columns a workgroup: (ceil(D/COLUMNS),1,1), folded to 2-D past 65535
// Numerics  f32, rows strictly in order: the bits of rms_norm_weight_grad.wgsl
// Why       A column is one chain over the rows, and a lane that also loads them waits for memory at each. Here all
//           lanes bring rows to workgroup memory, the next ones while a lane of each column adds those that are there
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
import package::lib::grid::{Fold, WG, group_number};

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

struct Params { rows: u32, width: u32 }
@group(0) @binding(4) var<uniform> params: Params;

override COLUMNS: u32;  // of which WG is a multiple
override SLAB = 8u * WG;
var<workgroup> pulls: array<f32, SLAB>;
var<workgroup> normed: array<f32, SLAB>;

// What a lane brings of four rows, WG / COLUMNS apart: dy, and x rstd.
struct Rows { pulls: vec4f, normed: vec4f }

// Rows past the last are the last again.
fn rows_at(r: u32, column: u32) -> Rows {
  let row = min(vec4u(r) + vec4u(0u, 1u, 2u, 3u) * (WG / COLUMNS), vec4u(params.rows - 1u));
  let at = row * params.width + column;
  return Rows(
    vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]),
    vec4f(x[at.x], x[at.y], x[at.z], x[at.w]) * vec4f(rstd[row.x], rstd[row.y], rstd[row.z], rstd[row.w]),
  );
}

fn keep(rows: Rows, at: u32) {
  pulls[at] = rows.pulls.x;
  pulls[at + WG] = rows.pulls.y;
  pulls[at + 2u * WG] = rows.pulls.z;
  pulls[at + 3u * WG] = rows.pulls.w;
  normed[at] = rows.normed.x;
  normed[at + WG] = rows.normed.y;
  normed[at + 2u * WG] = rows.normed.z;
  normed[at + 3u * WG] = rows.normed.w;
}

fn add_row(sum: f32, at: u32) -> f32 { return fma(pulls[at], normed[at], sum); }

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let d = group_number(fold) * COLUMNS + lane % COLUMNS;
  let column = min(d, params.width - 1u);
  let adds = lane < COLUMNS && d < params.width;
  let slab_rows = SLAB / COLUMNS;
  let own = lane / COLUMNS;
  var first = rows_at(own, column);
  var second = rows_at(own + slab_rows / 2u, column);
  var sum = dw[column];
  for (var begin = 0u; begin < params.rows; begin += slab_rows) {
    keep(first, lane);
    keep(second, lane + SLAB / 2u);
    workgroupBarrier();
    first = rows_at(begin + slab_rows + own, column);
    second = rows_at(begin + slab_rows + slab_rows / 2u + own, column);
    if (adds) {
      let end = min(slab_rows, params.rows - begin) * COLUMNS;
      var at = lane;
      for (; at + 3u * COLUMNS < end; at += 4u * COLUMNS) {
        sum = add_row(add_row(sum, at), at + COLUMNS);
        sum = add_row(add_row(sum, at + 2u * COLUMNS), at + 3u * COLUMNS);
      }
      for (; at < end; at += COLUMNS) { sum = add_row(sum, at); }
    }
    workgroupBarrier();
  }
  if (adds) { dw[d] = sum; }
}
