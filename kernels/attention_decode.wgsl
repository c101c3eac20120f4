// attention_decode: attention of one new token per row over its prompt and its own completion so far.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t],   p[t] = exp(scale q[r,h].k[t] - max),   g = h / (H/G), the key head
//   t: rows bounds[r].x .. bounds[r].y - 1 of the prompts, then slots 0 .. position[0] of row r of the caches
// Shapes    q f32 [R,H*D]; k_prompt, v_prompt f32 [P,G*D]; bounds i32 [R,2]; k_cache, v_cache f32 [R,T,G*D];
//           position i32 [1]; out o f32 [R,H*D]; D = 4*vectors, vectors <= WG
// Dispatch  one workgroup per (row, head): R*H workgroups, folded to 2-D past 65535. Lengths are read on the GPU, so a
//           recorded plan can replay this while position moves
// Numerics  f32, WG keys at a time with a running maximum; key t of a row always falls to the same lane and the partial
//           sums of the WG/vectors slices are added in order: bits depend on the row's own keys only
// Twin      src/ops/attention_decode.ts#attentionDecodeF64     Gradient: none
override WG: u32 = 32u;

struct Params { rows: u32, heads: u32, kv_heads: u32, slots: u32, scale: f32, vectors: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_prompt: array<vec4f>;
@group(0) @binding(2) var<storage, read> v_prompt: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> k_cache: array<vec4f>;
@group(0) @binding(5) var<storage, read> v_cache: array<vec4f>;
@group(0) @binding(6) var<storage, read> position: array<i32>;
@group(0) @binding(7) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> scores: array<f32, WG>;
var<workgroup> weights: array<f32, WG>;
var<workgroup> partial: array<vec4f, WG>;
var<workgroup> partial_weight: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;  // row * heads + head
  if (index >= params.rows * params.heads) { return; }
  let row = index / params.heads;
  let kv_head = index % params.heads / (params.heads / params.kv_heads);
  let prompt_start = u32(bounds[row].x);
  let prompt_length = u32(bounds[row].y) - prompt_start;
  let total = prompt_length + min(u32(position[0] + 1), params.slots);
  let stride = params.kv_heads * params.vectors;
  let prompt_base = prompt_start * stride + kv_head * params.vectors;
  let cache_base = row * params.slots * stride + kv_head * params.vectors;
  let slices = WG / params.vectors;
  let slice = lane / params.vectors;  // of the keys, when the values are summed
  let column = lane % params.vectors;

  var most = -3.0e38;
  var weight = 0.0;
  var sum = vec4f();
  for (var chunk = 0u; chunk < total; chunk += WG) {
    let count = min(WG, total - chunk);
    let t = chunk + lane;
    var dots = vec4f();
    if (t < prompt_length) {
      let base = prompt_base + t * stride;
      for (var c = 0u; c < params.vectors; c++) { dots = fma(q[index * params.vectors + c], k_prompt[base + c], dots); }
    } else if (t < total) {
      let base = cache_base + (t - prompt_length) * stride;
      for (var c = 0u; c < params.vectors; c++) { dots = fma(q[index * params.vectors + c], k_cache[base + c], dots); }
    }
    let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
    scores[lane] = score;
    workgroupBarrier();
    let before = most;
    for (var n = 0u; n < count; n++) { most = max(most, scores[n]); }
    weights[lane] = exp(score - most);
    workgroupBarrier();
    let keep = exp(before - most);
    weight *= keep;
    sum *= keep;
    if (slice < slices) {
      for (var n = slice; n < count; n += slices) {
        weight += weights[n];
        if (chunk + n < prompt_length) {
          sum = fma(v_prompt[prompt_base + (chunk + n) * stride + column], vec4f(weights[n]), sum);
        } else {
          sum = fma(v_cache[cache_base + (chunk + n - prompt_length) * stride + column], vec4f(weights[n]), sum);
        }
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
