// kv_append: stores every row's newest key (or value) in its slot of the cache, in place.
//   cache[r, position[0], w] = fresh[r, w]        nothing when position[0] is outside the cache
// Shapes    fresh f32 [R,W]; position i32 [1]; in and out cache f32 [R,T,W]; W a multiple of 4
// Dispatch  one lane per four columns: ceil(R*W/4 / WG) workgroups, folded to 2-D past 65535
// Numerics  a copy
// Twin      src/ops/kv_append.ts#kvAppendF64
override WG: u32 = 64u;

struct Params { count: u32, width4: u32, slots: u32 }
@group(0) @binding(0) var<storage, read> fresh: array<vec4f>;
@group(0) @binding(1) var<storage, read> position: array<i32>;
@group(0) @binding(2) var<storage, read_write> cache: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * WG + lane;
  let slot = u32(position[0]);
  if (index >= params.count || slot >= params.slots) { return; }
  let row = index / params.width4;
  cache[(row * params.slots + slot) * params.width4 + index % params.width4] = fresh[index];
}
