// embedding_grad_rows: embedding_grad.wgsl for GPUs.
//   dtable[ids[n] - first, d] += dy[n,d]
// Shapes    ids i32 [N]; dy f32 [N,D]; in and out dtable: rows first .. first + rows of f32 [V,D]; width: values of a
//           row, VEC4 vec4s; slices: workgroups of a row, WG of its values each
// Dispatch  `slices` workgroups per token: (N slices,1,1), folded to 2-D past 65535
// Numerics  f32, a row's tokens strictly in order: the bits of embedding_grad.wgsl
// Why       Rows of the table are independent, and where a token stands for the first time its workgroup adds what all
//           of its kind pull, in order; those of the others have nothing to do
// Twin      src/ops/rows/embedding.ts#embeddingGradF64
import package::lib::grid::{Fold, WG, group_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> dy: array<Value>;
@group(0) @binding(2) var<storage, read_write> dtable: array<Value>;

struct Params { tokens: u32, width: u32, first: u32, rows: u32, slices: u32 }
@group(0) @binding(3) var<uniform> params: Params;

const ROUND = 8192u;  // tokens that are looked at before what is found is added
var<workgroup> alike: array<atomic<u32>, ROUND / 32u>;     // a bit for each token of this id
var<workgroup> words: array<atomic<u32>, ROUND / 1024u>;   // a bit for each word of these that has one

fn note(n: u32, other: i32, id: i32, count: u32) {
  if (n < count && other == id) {
    atomicOr(&alike[n / 32u], 1u << (n % 32u));
    atomicOr(&words[n / 1024u], 1u << (n / 32u % 32u));
  }
}

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let group = group_number(fold);
  let token = group / params.slices;
  if (token >= params.tokens) { return; }
  let id = ids[token];
  let row = u32(id) - params.first;  // below `first`: wraps past `rows`
  if (row >= params.rows) { return; }
  let d = (group % params.slices) * WG + lane;
  let place = row * params.width + d;
  var earliest = params.tokens;
  var sum = Value();
  for (var begin = 0u; begin < params.tokens; begin += ROUND) {
    for (var i = lane; i < ROUND / 32u; i += WG) { atomicStore(&alike[i], 0u); }
    if (lane < ROUND / 1024u) { atomicStore(&words[lane], 0u); }
    workgroupBarrier();
    let count = min(ROUND, params.tokens - begin);
    for (var n = lane; n < count; n += 4u * WG) {
      let other = vec4i(  // past the last, of any token
        ids[begin + n], ids[begin + n + WG], ids[begin + n + 2u * WG], ids[begin + n + 3u * WG],
      );
      note(n, other.x, id, count);
      note(n + WG, other.y, id, count);
      note(n + 2u * WG, other.z, id, count);
      note(n + 3u * WG, other.w, id, count);
    }
    workgroupBarrier();
    if (d < params.width) {
      for (var g = 0u; g < ROUND / 1024u; g++) {
        for (var with_bits = atomicLoad(&words[g]); with_bits != 0u; with_bits &= with_bits - 1u) {
          let word = 32u * g + countTrailingZeros(with_bits);
          for (var bits = atomicLoad(&alike[word]); bits != 0u; bits &= bits - 1u) {
            let n = begin + 32u * word + countTrailingZeros(bits);
            if (earliest == params.tokens) {
              earliest = n;
              sum = dtable[place];
            }
            if (earliest == token) { sum += dy[n * params.width + d]; }
          }
        }
      }
    }
    workgroupBarrier();
  }
  if (d < params.width && earliest == token) { dtable[place] = sum; }
}
