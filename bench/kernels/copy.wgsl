// copy: moves vec4s from one buffer to another; the most bytes per second that a kernel of this device can move.
//   copied[i] = source[i]
// Shapes    source, copied f32 [4*count]
// Dispatch  SPAN vec4s a workgroup, WG at a time: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      none: it computes nothing     Run by bench/ceilings.ts#measureCeilings
override WG: u32 = 64u;
override SPAN: u32 = 64u;  // a multiple of WG

@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.x + group.y * groups.x) * SPAN + lane;
  for (var i = first; i < min(first - lane + SPAN, arrayLength(&copied)); i += WG) { copied[i] = source[i]; }
}
