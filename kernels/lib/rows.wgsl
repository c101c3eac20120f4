// rows: sums over rows, each by LANES lanes of a workgroup, in an order that is the row's own.
//   A row is summed in CHAINS chains, value by value or vec4 by vec4:
//     for (var chain = row.lane; chain < CHAINS; chain += LANES) { keep_chain(row, chain, its sum); }
//   Then row_sum joins the chains. With VEC4 there are 32 for any LANES, which so does not show in the bits; else one
//   for each lane of the workgroup, which has one row.
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::reduce::workgroup_sum;
import package::lib::values::VALUE_SIZE;

override LANES: u32;  // with VEC4 8, 32 or WG, else WG
@if(VEC4) const CHAINS = 32u;
@else override CHAINS: u32 = LANES;

// A row as one of its lanes sees it. Values are counted as the kernel takes them.
struct Row {
  number: u32,
  exists: bool,  // in the last workgroups, not all rows do: these have no values
  begin: u32,
  width: u32,
  slot: u32,  // among the workgroup's rows
  lane: u32,  // among the row's lanes
}

fn row_of(place: Place, rows: u32, columns: u32) -> Row {
  let slot = place.lane / LANES;
  let number = workgroup_number(place) * (WG / LANES) + slot;
  let width = select(0u, columns / VALUE_SIZE, number < rows);
  return Row(number, number < rows, number * width, width, slot, place.lane % LANES);
}

var<workgroup> chains: array<f32, WG / LANES * CHAINS>;
@if(VEC4) var<workgroup> eighths: array<f32, WG / LANES * 8u>;

fn keep_chain(row: Row, chain: u32, sum: f32) {
  chains[row.slot * CHAINS + chain] = sum;
}

// The sum of a row's chains, in every lane of it.
@if(VEC4)
fn row_sum(row: Row) -> f32 {
  if (LANES > 8u) { workgroupBarrier(); }  // 8 lanes read only chains of their own
  if (row.lane < 8u) {
    let at = row.slot * CHAINS + row.lane;
    eighths[row.slot * 8u + row.lane] = (chains[at] + chains[at + 8u]) + (chains[at + 16u] + chains[at + 24u]);
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 8u; i++) { sum += eighths[row.slot * 8u + i]; }
  return sum;
}
@else
fn row_sum(row: Row) -> f32 { return workgroup_sum(row.lane, chains[row.lane]); }
