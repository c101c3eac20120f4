// attention_decode_simd8: attention of one new token per row, for subgroups of 8 lanes. The same sums, the same bits.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t],   p[t] = exp(scale q[r,h].k[t] - max),   g = h / (H/G), the key head
//   t = 0 .. positions[r], table and what holds nothing as in attention_decode.wgsl
// Shapes    as attention_decode.wgsl: q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions
//           i32 [R]; out o f32 [R,H*D]; D = 4*VECTORS <= 128, HEADS*VECTORS <= 32, B = 2^block_shift
// Dispatch  a workgroup is one subgroup and takes a row and HEADS query heads that share a key head: R*H/HEADS workgroups,
//           folded to 2-D past 65535
// Numerics  f32, token t to lane t % 8; a lane takes its own in order with a running maximum, then the lanes are added in order
// Why       The lanes' sums meet without workgroup memory and barriers, which take as long as a round of keys, and a query
//           is loaded once by all lanes, not by each. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
enable subgroups;
override VECTORS: u32 = 4u;  // of a head
override HEADS: u32 = 1u;    // divides H/G
override TILE: u32 = 1u;     // keys that a lane takes at once: 1, 2 or 4, HEADS*TILE <= 16
override STEP: u32 = 4u;     // vectors at once: VECTORS, or a part of it where it is large
override FORMAT: u32 = 0u;   // of the pools: 0 f32, 1 bf16 pairs, 2 f16 pairs

struct Params { rows: u32, heads: u32, kv_heads: u32, columns: u32, scale: f32, block_shift: u32, steps: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_pool: array<vec4u>;
@group(0) @binding(2) var<storage, read> v_pool: array<vec4u>;
@group(0) @binding(3) var<storage, read> table: array<i32>;
@group(0) @binding(4) var<storage, read> positions: array<i32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(6) var<uniform> params: Params;

// Vectors start .. start + STEP - 1 of a pool, 16 bits wide, lie two to an aligned quad of words where their number is even.
fn quad_of(start: u32, i: u32) -> u32 {
  if (FORMAT == 0u) { return start + i; }
  return select((start + i) / 2u, start / 2u + i / 2u, STEP % 2u == 0u);
}

fn unpack4(quad: vec4u, start: u32, i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(quad); }
  let words = select(quad.xy, quad.zw, select(start + i, i, STEP % 2u == 0u) % 2u == 1u);
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// The sum over the lanes, in order.
fn in_order(x: vec4f) -> vec4f {
  let low = ((subgroupBroadcast(x, 0u) + subgroupBroadcast(x, 1u)) + subgroupBroadcast(x, 2u)) + subgroupBroadcast(x, 3u);
  return (((low + subgroupBroadcast(x, 4u)) + subgroupBroadcast(x, 5u)) + subgroupBroadcast(x, 6u)) + subgroupBroadcast(x, 7u);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  if (index * HEADS >= params.rows * params.heads) { return; }
  let row = index * HEADS / params.heads;
  let first_head = index * HEADS % params.heads;
  let kv_head = first_head / (params.heads / params.kv_heads);
  let entry = row * params.columns;
  let outputs = HEADS * VECTORS;
  if (table[entry] < 0) {
    for (var j = lane; j < outputs; j += 8u) { o[index * outputs + j] = vec4f(); }
    return;
  }
  let offset = u32(table[entry]);
  let total = min(u32(positions[row] + 1), ((params.columns - 1u) << params.block_shift) - offset);
  let steps = select(params.steps, 1u, STEP == VECTORS);  // known to the compiler where it is to unroll all

  var query: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  var most: array<f32, 16>;
  var weight: array<f32, 16>;
  for (var h = 0u; h < HEADS; h++) { most[h] = -3.0e38; }
  for (var x = 0u; x < outputs; x += 8u) {
    let mine = q[index * outputs + min(x + lane, outputs - 1u)] * params.scale;
    query[x] = subgroupBroadcast(mine, 0u);
    query[x + 1u] = subgroupBroadcast(mine, 1u);
    query[x + 2u] = subgroupBroadcast(mine, 2u);
    query[x + 3u] = subgroupBroadcast(mine, 3u);
    query[x + 4u] = subgroupBroadcast(mine, 4u);
    query[x + 5u] = subgroupBroadcast(mine, 5u);
    query[x + 6u] = subgroupBroadcast(mine, 6u);
    query[x + 7u] = subgroupBroadcast(mine, 7u);
  }
  for (var chunk = 0u; chunk < total; chunk += 8u * TILE) {
    let token = chunk + lane;  // the first of this lane's TILE
    var bases = array<u32, 4>();
    var dots = array<vec4f, 16>();
    if (token < total) {
      for (var n = 0u; n < TILE; n++) {
        let place = offset + min(token + n * 8u, total - 1u);
        let block = u32(table[entry + 1u + (place >> params.block_shift)]);
        let slot = (block << params.block_shift) + (place & ((1u << params.block_shift) - 1u));
        bases[n] = (slot * params.kv_heads + kv_head) * VECTORS;
      }
      for (var b = 0u; b < steps; b++) {
        for (var n = 0u; n < TILE; n++) {
          if (TILE == 1u || token + n * 8u < total) {
            let start = bases[n] + b * STEP;
            for (var i = 0u; i < STEP; i++) {
              let key = unpack4(k_pool[quad_of(start, i)], start, i);
              for (var h = 0u; h < HEADS; h++) {
                dots[h * TILE + n] = fma(query[h * VECTORS + b * STEP + i], key, dots[h * TILE + n]);
              }
            }
          }
        }
      }
      var keep = array<f32, 16>();
      var p = array<f32, 16>();
      for (var x = 0u; x < HEADS * TILE; x++) {
        let h = x / TILE;
        let seen = TILE == 1u || token + x % TILE * 8u < total;
        let score = (dots[x].x + dots[x].y) + (dots[x].z + dots[x].w);
        let shrunk = exp(-abs(score - most[h]));  // the one exponential: of the old maximum or of this key
        let rises = seen && score > most[h];
        keep[x] = select(1.0, shrunk, rises);
        p[x] = select(select(0.0, shrunk, seen), 1.0, rises);
        most[h] = select(most[h], score, rises);
        weight[h] = fma(weight[h], keep[x], p[x]);
      }
      for (var b = 0u; b < steps; b++) {
        var sums = array<vec4f, 32>();
        for (var x = 0u; x < HEADS * STEP; x++) { sums[x] = sum[x / STEP * VECTORS + b * STEP + x % STEP]; }
        for (var n = 0u; n < TILE; n++) {
          if (TILE == 1u || token + n * 8u < total) {
            let start = bases[n] + b * STEP;
            for (var i = 0u; i < STEP; i++) {
              let value = unpack4(v_pool[quad_of(start, i)], start, i);
              for (var h = 0u; h < HEADS; h++) {
                sums[h * STEP + i] = fma(value, vec4f(p[h * TILE + n]), sums[h * STEP + i] * keep[h * TILE + n]);
              }
            }
          }
        }
        for (var x = 0u; x < HEADS * STEP; x++) { sum[x / STEP * VECTORS + b * STEP + x % STEP] = sums[x]; }
      }
    }
  }
  for (var h = 0u; h < HEADS; h++) {
    let keep = exp(most[h] - subgroupMax(most[h]));
    let all_weight = in_order(vec4f(weight[h] * keep)).x;
    for (var b = 0u; b < steps; b++) {
      for (var i = 0u; i < STEP; i++) {
        let c = b * STEP + i;
        let all = in_order(sum[h * VECTORS + c] * keep);
        if (lane == 0u) { o[(index * HEADS + h) * VECTORS + c] = all / all_weight; }
      }
    }
  }
}
