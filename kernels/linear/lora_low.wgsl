// lora_low: the parts of lora_shrink.wgsl added, for the ranks of one adapter.
//   low[m,r] = scale sum_p parts[p, m, first + r]
// Shapes    parts f32 [parts, M, ranks]; out low f32 [M, rank]
// Dispatch  one thread per value: ceil(M rank / WG) workgroups, folded to 2-D past 65535
// Numerics  f32, p in order, from the first part's own value on
// Twin      src/ops/linear/lora_shrink.ts#loraLowF64
import package::lib::grid::{lane_number, Place, WG};

struct Params { rows: u32, rank: u32, ranks: u32, first: u32, count: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> low: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let id = lane_number(place);
  let m = id / params.rank;
  if (m >= params.rows) { return; }
  let pitch = params.rows * params.ranks;
  let at = m * params.ranks + params.first + id % params.rank;
  var sum = parts[at];
  for (var p = 1u; p < params.count; p++) { sum += parts[p * pitch + at]; }
  low[id] = params.scale * sum;
}
