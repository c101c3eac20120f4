// embedding_grad_vec4: as embedding_grad.wgsl, with the same bits, where the width is a multiple of 4.
//   dtable[ids[n] - first, d] += dy[n,d]
// Shapes    ids i32 [N]; dy f32 [N,D]; in and out dtable: rows first .. first + rows of f32 [V,D]; D a multiple of 4
// Dispatch  one lane per four columns, which alone writes them: (ceil(D/4 / WG),1,1)
// Numerics  f32, tokens strictly in order, so splitting them over several calls gives the same bits
// Twin      src/ops/rows/embedding.ts#embeddingGradF64
override WG: u32 = 8u;

struct Params { tokens: u32, width4: u32, first: u32, rows: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dtable: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  if (d >= params.width4) { return; }
  for (var n = 0u; n < params.tokens; n++) {
    let row = u32(ids[n]) - params.first;  // below `first`: wraps past `rows`
    if (row < params.rows) { dtable[row * params.width4 + d] += dy[n * params.width4 + d]; }
  }
}
