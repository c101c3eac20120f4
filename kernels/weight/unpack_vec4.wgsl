// unpack_vec4: as unpack.wgsl, where N is even.
//   values[2i] = the low half of words[i], values[2i+1] the high one
// Shapes    words u32 [N]; out values f32 [2N]; N even.  FORMAT 1 bf16, 2 f16
// Dispatch  one workgroup per SPAN pairs of words: (ceil(N/2 / SPAN),1,1), folded to 2-D past 65535
// Numerics  exact
// Twin      src/ops/weight/pack.ts#unpackWords
override WG: u32 = 64u;
override FORMAT: u32 = 1u;

const SPAN = 256u;  // of gpu/grids.ts

struct Params { words2: u32 }
@group(0) @binding(0) var<storage, read> words: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * SPAN;
  for (var i = begin + lane; i < min(begin + SPAN, params.words2); i += WG) {
    let pair = words[i];
    if (FORMAT == 1u) {
      values[i] = bitcast<vec4f>(vec4u(pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
    } else {
      values[i] = vec4f(unpack2x16float(pair.x), unpack2x16float(pair.y));
    }
  }
}
