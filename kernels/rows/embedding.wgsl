// embedding: row of the table for each token.
//   y[n,d] = table[ids[n] - first, d]
// Shapes    table: rows first .. first + rows of [V,D] f32, or packed bf16/f16 two to a word; ids i32 [N], 0 <= id < V;
//           out y f32 [N,D]. Tokens of other rows get 0 from the first window, and keep what they have from later ones
// Dispatch  one lane per element: (ceil(N*D/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/embedding.ts#embeddingF64     Gradient: embedding_grad.wgsl
override WG: u32 = 256u;
override FORMAT: u32 = 0u;  // 0 f32, 1 bf16, 2 f16

struct Params { tokens: u32, width: u32, first: u32, rows: u32 }
@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn table_value(index: u32) -> f32 {
  if (FORMAT == 0u) { return bitcast<f32>(table[index]); }
  let word = table[index / 2u];
  if (FORMAT == 2u) { return unpack2x16float(word)[index % 2u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, index % 2u == 1u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.tokens * params.width) { return; }
  let n = i / params.width;
  let row = u32(ids[n]) - params.first;  // below `first`: wraps past `rows`
  if (row < params.rows) {
    y[i] = table_value(row * params.width + i % params.width);
  } else if (params.first == 0u) {
    y[i] = 0.0;
  }
}
