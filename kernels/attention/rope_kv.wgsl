// rope_kv: what a new token of every row needs before it attends: queries and keys rotated, keys and values kept.
//   q[r,h] rotated by positions[r] as in rope.wgsl;   pool[slot] = k[r] rotated, and v[r], as in kv_append.wgsl, with
//   place = table[r, 0] + positions[r], slot = table[r, 1 + place / B] * B + place % B;   no key or value is kept when
//   table[r, 0] or positions[r] is negative, or the table ends before the place
// Shapes    q f32 [R,H*D]; k, v f32 [R,K*D]; positions i32 [R]; cos, sin f32 [P,D/2]; table i32 [R,C]; out rotated f32
//           [R,H*D]; in and out k_pool, v_pool [blocks,B,K*D] in FORMAT; D a multiple of 4, B = 2^block_shift
// Dispatch  one lane per two pairs of four heads, of q or of k and v: ceil(R * (ceil(H/4) + ceil(K/4)) * D/4 / WG) workgroups
// Numerics  bits of rope.wgsl and kv_append.wgsl
// Twin      src/ops/attention/rope_kv.ts#ropeKvF64
override WG: u32 = 64u;
override FORMAT: u32 = 0u;  // of the pools: 0 f32, 1 bf16 pairs, 2 f16 pairs

const HEADS_PER_LANE = 4u;

struct Params { count: u32, heads: u32, kv_heads: u32, quarter: u32, last_position: u32, columns: u32, block_shift: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec2f>;
@group(0) @binding(1) var<storage, read> k: array<vec2f>;
@group(0) @binding(2) var<storage, read> v: array<vec2f>;
@group(0) @binding(3) var<storage, read> positions: array<i32>;
@group(0) @binding(4) var<storage, read> cosines: array<vec2f>;
@group(0) @binding(5) var<storage, read> sines: array<vec2f>;
@group(0) @binding(6) var<storage, read> table: array<i32>;
@group(0) @binding(7) var<storage, read_write> rotated: array<vec2f>;
@group(0) @binding(8) var<storage, read_write> k_pool: array<u32>;
@group(0) @binding(9) var<storage, read_write> v_pool: array<u32>;
@group(0) @binding(10) var<uniform> params: Params;

// Two values in a word.
fn packed2(x: vec2f) -> u32 {
  if (FORMAT == 2u) { return pack2x16float(clamp(x, vec2f(-65504.0), vec2f(65504.0))); }
  let bits = bitcast<vec2u>(x);
  let rounded = bits + vec2u(0x7fffu) + ((bits >> vec2u(16u)) & vec2u(1u));
  return (rounded.x >> 16u) | (rounded.y & 0xffff0000u);
}

fn keep_key(pair: u32, x: vec2f) {
  if (FORMAT == 0u) {
    k_pool[2u * pair] = bitcast<u32>(x.x);
    k_pool[2u * pair + 1u] = bitcast<u32>(x.y);
  } else {
    k_pool[pair] = packed2(x);
  }
}

fn keep_value(pair: u32, x: vec2f) {
  if (FORMAT == 0u) {
    v_pool[2u * pair] = bitcast<u32>(x.x);
    v_pool[2u * pair + 1u] = bitcast<u32>(x.y);
  } else {
    v_pool[pair] = packed2(x);
  }
}

// Place of row r's new token in the pools, counted in tokens; -1 when there is none.
fn slot_of(r: u32) -> i32 {
  let entry = r * params.columns;
  if (table[entry] < 0 || positions[r] < 0) { return -1; }
  let place = u32(table[entry] + positions[r]);
  let column = 1u + (place >> params.block_shift);
  if (column >= params.columns) { return -1; }
  return (table[entry + column] << params.block_shift) + i32(place & ((1u << params.block_shift) - 1u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * WG + lane;
  if (index >= params.count) { return; }
  let q_units = (params.heads + HEADS_PER_LANE - 1u) / HEADS_PER_LANE;  // of a row
  let units = q_units + (params.kv_heads + HEADS_PER_LANE - 1u) / HEADS_PER_LANE;
  let quarter = params.quarter;
  let row_unit = index / quarter;
  let c = index - row_unit * quarter;
  let r = row_unit / units;
  let unit = row_unit - r * units;
  let position = min(u32(positions[r]), params.last_position);
  let cosine = cosines[position * quarter + c];
  let sine = sines[position * quarter + c];
  if (unit < q_units) {
    let first_head = unit * HEADS_PER_LANE;
    for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.heads); head++) {
      let first = (r * params.heads + head) * 2u * quarter + c;
      let a = q[first];
      let b = q[first + quarter];
      rotated[first] = a * cosine - b * sine;
      rotated[first + quarter] = b * cosine + a * sine;
    }
    return;
  }
  let slot = slot_of(r);
  if (slot < 0) { return; }
  let first_head = (unit - q_units) * HEADS_PER_LANE;
  for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.kv_heads); head++) {
    let first = (r * params.kv_heads + head) * 2u * quarter + c;
    let kept = (u32(slot) * params.kv_heads + head) * 2u * quarter + c;
    let a = k[first];
    let b = k[first + quarter];
    keep_key(kept, a * cosine - b * sine);
    keep_key(kept + quarter, b * cosine + a * sine);
    keep_value(kept, v[first]);
    keep_value(kept + quarter, v[first + quarter]);
  }
}
