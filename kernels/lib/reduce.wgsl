// reduce: sums and largest values over a workgroup, in a tree of fixed order. WG is a power of two.
//   All lanes call them, and none again before the last has read its result.
import package::lib::grid::WG;

var<workgroup> partials: array<f32, WG>;
var<workgroup> partials4: array<vec4f, WG>;

// The sum of the lanes' values, the same for each lane.
fn workgroup_sum(lane: u32, value: f32) -> f32 {
  partials[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  return partials[0];
}

fn workgroup_sum4(lane: u32, value: vec4f) -> vec4f {
  partials4[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials4[lane] += partials4[lane + half]; }
    workgroupBarrier();
  }
  return partials4[0];
}

fn workgroup_max(lane: u32, value: f32) -> f32 {
  partials[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] = max(partials[lane], partials[lane + half]); }
    workgroupBarrier();
  }
  return partials[0];
}
