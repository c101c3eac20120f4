// unpack: 16-bit values, two to a word, as f32.
//   values[2i] = the low half of words[i], values[2i+1] the high one
// Shapes    words u32 [N]; out values f32 [2N].  FORMAT 1 bf16, 2 f16
// Dispatch  one lane per word: (ceil(N/WG),1,1), folded to 2-D past 65535
// Numerics  exact
// Twin      src/ops/weight/pack.ts#unpackWords
override WG: u32 = 256u;
override FORMAT: u32 = 1u;

struct Params { words: u32 }
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> values: array<vec2f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.words) { return; }
  let word = words[i];
  if (FORMAT == 1u) {
    values[i] = vec2f(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
  } else {
    values[i] = unpack2x16float(word);
  }
}
