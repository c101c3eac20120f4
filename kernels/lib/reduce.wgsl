// reduce: sums over a workgroup, in a tree of fixed order. WG is a power of two.
import package::lib::grid::WG;

var<workgroup> partials: array<f32, WG>;

// The sum of the lanes' values, the same for each lane. All lanes call it, and none before the last has read its result.
fn workgroup_sum(lane: u32, value: f32) -> f32 {
  partials[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  return partials[0];
}
