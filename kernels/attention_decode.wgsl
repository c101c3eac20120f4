// attention_decode: attention of one new token per row over its prompt and its own completion so far.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t],   p[t] = exp(scale q[r,h].k[t] - max),   g = h / (H/G), the key head
//   t = 0 .. positions[r]; token t of row r lies in block table[r, 1 + place / B] at place % B, place = table[r,0] + t.
//   o[r] = 0 when table[r,0] is negative
// Shapes    q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions i32 [R]; out o f32 [R,H*D];
//           D = 4*vectors, vectors <= WG, B = 2^block_shift
// Dispatch  one workgroup per (row, head): R*H workgroups, folded to 2-D past 65535. Lengths and blocks are read on the
//           GPU, so a recorded plan can replay this while they change
// Numerics  f32, WG keys at a time with a running maximum; key t of a row always falls to the same lane and the partial
//           sums of the WG/vectors slices are added in order: bits depend on the row's own keys only, not on their blocks
// Twin      src/ops/attention_decode.ts#attentionDecodeF64     Gradient: none
override WG: u32 = 32u;
override FORMAT: u32 = 0u;  // of the pools: 0 f32, 1 bf16 pairs, 2 f16 pairs

struct Params { rows: u32, heads: u32, kv_heads: u32, columns: u32, scale: f32, vectors: u32, block_shift: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_pool: array<vec4u>;
@group(0) @binding(2) var<storage, read> v_pool: array<vec4u>;
@group(0) @binding(3) var<storage, read> table: array<i32>;
@group(0) @binding(4) var<storage, read> positions: array<i32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(6) var<uniform> params: Params;

var<workgroup> scores: array<f32, WG>;
var<workgroup> weights: array<f32, WG>;
var<workgroup> bases: array<u32, WG>;  // where each key of the chunk begins in its pool
var<workgroup> partial: array<vec4f, WG>;
var<workgroup> partial_weight: array<f32, WG>;

fn unpack4(quad: vec4u, i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(quad); }
  let words = select(quad.xy, quad.zw, (i & 1u) == 1u);
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Values 4i .. 4i+3 of a pool.
fn key4(i: u32) -> vec4f { return unpack4(k_pool[select(i / 2u, i, FORMAT == 0u)], i); }
fn value4(i: u32) -> vec4f { return unpack4(v_pool[select(i / 2u, i, FORMAT == 0u)], i); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;  // row * heads + head
  if (index >= params.rows * params.heads) { return; }
  let row = index / params.heads;
  let entry = row * params.columns;
  if (table[entry] < 0) {
    if (lane < params.vectors) { o[index * params.vectors + lane] = vec4f(); }
    return;
  }
  let kv_head = index % params.heads / (params.heads / params.kv_heads);
  let offset = u32(table[entry]);
  let total = min(u32(positions[row] + 1), ((params.columns - 1u) << params.block_shift) - offset);
  let stride = params.kv_heads * params.vectors;
  let slices = WG / params.vectors;
  let slice = lane / params.vectors;  // of the keys, when the values are summed
  let column = lane % params.vectors;

  var most = -3.0e38;
  var weight = 0.0;
  var sum = vec4f();
  for (var chunk = 0u; chunk < total; chunk += WG) {
    let count = min(WG, total - chunk);
    var base = 0u;
    var dots = vec4f();
    if (lane < count) {
      let place = offset + chunk + lane;
      let block = u32(table[entry + 1u + (place >> params.block_shift)]);
      let slot = (block << params.block_shift) + (place & ((1u << params.block_shift) - 1u));
      base = slot * stride + kv_head * params.vectors;
      for (var c = 0u; c < params.vectors; c++) { dots = fma(q[index * params.vectors + c], key4(base + c), dots); }
    }
    let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
    scores[lane] = score;
    workgroupBarrier();
    let before = most;
    for (var n = 0u; n < count; n++) { most = max(most, scores[n]); }
    weights[lane] = exp(score - most);
    bases[lane] = base;
    workgroupBarrier();
    let keep = exp(before - most);
    weight *= keep;
    sum *= keep;
    if (slice < slices) {
      for (var n = slice; n < count; n += slices) {
        weight += weights[n];
        sum = fma(value4(bases[n] + column), vec4f(weights[n]), sum);
      }
    }
  }
  partial[lane] = sum;
  partial_weight[lane] = weight;
  workgroupBarrier();
  if (lane >= params.vectors) { return; }
  for (var other = lane + params.vectors; other < slices * params.vectors; other += params.vectors) {
    sum += partial[other];
    weight += partial_weight[other];
  }
  o[index * params.vectors + lane] = sum / weight;
}
