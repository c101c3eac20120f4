// rope_kv: what a new token of every row needs before it attends: queries and keys rotated, keys and values kept.
//   q[r,h] rotated by positions[r] as in rope.wgsl;   pool[slot] = k[r] rotated, and v[r], as in kv_append.wgsl, with
//   row r as owner of token positions[r]
// Shapes    q f32 [R,H*D]; k, v f32 [R,K*D]; positions i32 [R]; cos, sin f32 [P,R/2]; table i32 [R,C]; out rotated f32
//           [R,H*D]; in and out k_pool, v_pool [blocks,B,K*D] in FORMAT; D a multiple of 4, B = 2^block_shift
// Dispatch  one lane per two pairs of four heads, of q or of k and v: ceil(R * (ceil(H/4) + ceil(K/4)) * D/4 / WG)
//           workgroups, folded to 2-D past 65535
// Numerics  bits of rope.wgsl and kv_append.wgsl
// Twin      src/ops/attention/rope_kv.ts#ropeKvF64
import package::lib::blocks::slot_of;
import package::lib::grid::{Place, WG, lane_number};
import package::lib::kv_pool::keep;
import package::lib::rope::{HEADS_PER_LANE, positions, share_of, turn_of, turned, units_of};

struct Params {
  count: u32,
  heads: u32,
  kv_heads: u32,
  quarter: u32,
  part: u32,
  last_position: u32,
  columns: u32,  // of the table
  block_shift: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read> q: array<vec2f>;
@group(0) @binding(8) var<storage, read> k: array<vec2f>;
@group(0) @binding(9) var<storage, read> v: array<vec2f>;
@group(0) @binding(10) var<storage, read_write> rotated: array<vec2f>;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.count) { return; }
  let q_units = units_of(params.heads);
  let quarter = params.quarter;
  let share = share_of(index, q_units + units_of(params.kv_heads), quarter);
  let row = share.row;
  let turn = turn_of(share, quarter, params.part, params.last_position);
  if (share.unit < q_units) {
    let first_head = share.unit * HEADS_PER_LANE;
    for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.heads); head++) {
      let begin = (row * params.heads + head) * 2u * quarter;
      let both = turned(q[begin + turn.a], q[begin + turn.b], turn.cosine, turn.sine);
      rotated[begin + turn.a] = both[0];
      rotated[begin + turn.b] = both[1];
    }
    return;
  }
  let slot = slot_of(i32(row), positions[row], params.columns, params.block_shift);
  if (slot < 0) { return; }
  let first_head = (share.unit - q_units) * HEADS_PER_LANE;
  for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.kv_heads); head++) {
    let begin = (row * params.kv_heads + head) * 2u * quarter;
    let kept = (u32(slot) * params.kv_heads + head) * 2u * quarter;
    let key = turned(k[begin + turn.a], k[begin + turn.b], turn.cosine, turn.sine);
    keep(kept + turn.a, key[0], v[begin + turn.a]);
    keep(kept + turn.b, key[1], v[begin + turn.b]);
  }
}
