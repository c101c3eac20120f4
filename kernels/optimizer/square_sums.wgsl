// square_sums: partial sums of squares, for a global norm.
//   out[slot + p] = sum of x[i]^2 over the p-th run of `run` elements
// Shapes    x f32 [N]; out f32 [S], this call writes slots slot .. slot + ceil(N/run) - 1
// Dispatch  one workgroup per run: (ceil(N/run),1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums, then a tree in fixed order
// Twin      src/ops/optimizer/grad_norm.ts#gradNormF64
override WG: u32 = 64u;  // power of two

struct Params { count: u32, run: u32, slot: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let p = group.x + group.y * groups.x;
  let begin = p * params.run;
  if (begin >= params.count) { return; }
  var sum = 0.0;
  for (var i = begin + lane; i < min(begin + params.run, params.count); i += WG) { sum = fma(x[i], x[i], sum); }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { sums[params.slot + p] = partial[0]; }
}
