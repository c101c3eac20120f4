// embedding_vec4: as embedding.wgsl, where the width is a multiple of 4.
//   y[n,d] = table[ids[n] - first, d]
// Shapes    table: rows first .. first + rows of [V,D] f32, or packed bf16/f16 two to a word; ids i32 [N], 0 <= id < V;
//           out y f32 [N,D]; D a multiple of 4. Tokens of other rows get 0 from the first window, and keep what they have
//           from later ones
// Dispatch  one workgroup per `share` tokens: (ceil(N/share),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/embedding.ts#embeddingF64     Gradient: embedding_grad_vec4.wgsl
override WG: u32 = 64u;
override FORMAT: u32 = 0u;  // 0 f32, 1 bf16, 2 f16

struct Params { tokens: u32, width4: u32, first: u32, rows: u32, share: u32 }
@group(0) @binding(0) var<storage, read> table: array<vec2u>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn table_values(index: u32) -> vec4f {
  if (FORMAT == 0u) { return vec4f(bitcast<vec2f>(table[2u * index]), bitcast<vec2f>(table[2u * index + 1u])); }
  let words = table[index];
  if (FORMAT == 2u) { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
  return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * params.share;
  for (var n = begin; n < min(begin + params.share, params.tokens); n++) {
    let row = u32(ids[n]) - params.first;  // below `first`: wraps past `rows`
    let to = n * params.width4;
    if (row < params.rows) {
      for (var d = lane; d < params.width4; d += WG) { y[to + d] = table_values(row * params.width4 + d); }
    } else if (params.first == 0u) {
      for (var d = lane; d < params.width4; d += WG) { y[to + d] = vec4f(0.0); }
    }
  }
}
