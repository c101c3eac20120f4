// weight_shift: the power of two that brings a weight into the range of f16, of the largest magnitudes of its parts.
//   shift[0] = 14 - floor(log2(max_i largest[i])), kept within -126 .. 126
// Shapes    largest u32 [count] of weight_largest.wgsl; out shift i32 [1]
// Dispatch  one workgroup
// Numerics  exact
// Why       one power for the whole: products then need none of each column. Trained matrices span few binary orders,
//           and f16 keeps all of its bits in the 29 below the largest; what lies below loses less than 2^-40 of that
// Twin      src/ops/weight/weight_shift.ts#shiftF64
import package::lib::f16_range::shift_of;
import package::lib::grid::{Place, WG};

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> largest: array<u32>;
@group(0) @binding(1) var<storage, read_write> shift: array<i32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> of_lane: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(place: Place) {
  var most = 0u;
  for (var i = place.lane; i < params.count; i += WG) { most = max(most, largest[i]); }
  of_lane[place.lane] = most;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) { of_lane[place.lane] = max(of_lane[place.lane], of_lane[place.lane + half]); }
  }
  if (place.lane == 0u) { shift[0] = shift_of(of_lane[0]); }
}
