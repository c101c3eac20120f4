// adamw_vec4: as adamw.wgsl, where N is a multiple of 4.
//   g = grad * clip.scale;  w *= decay;  m = b1 m + rest1 g;  v = b2 v + rest2 g^2
//   w -= step m / (sqrt(v) root + eps)
//   decay = 1 - lr weight_decay, rest = 1 - b, step = lr / (1 - b1^t) and root = 1 / sqrt(1 - b2^t) come rounded from f64:
//   in f32, 1 - 0.999 is 1e-5 off
//   clip.scale = 0 (the norm was not finite): nothing changes but the gradient, which is cleared.
// Shapes    weight, m, v, grad f32 [N], all in and out; clip f32 [2]: norm, scale; N a multiple of 4
// Dispatch  one workgroup per SPAN vec4s: (ceil(N/4 / SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/optimizer/adamw.ts#adamwF64
override WG: u32 = 64u;

const SPAN = 256u;  // of gpu/grids.ts

struct Params { count4: u32, step: f32, root: f32, eps: f32, decay: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32 }
@group(0) @binding(0) var<storage, read_write> weight: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> grad: array<vec4f>;
@group(0) @binding(4) var<storage, read> clip: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.x + group.y * groups.x) * SPAN;
  let end = min(begin + SPAN, params.count4);
  let scale = clip[1];
  if (scale == 0.0) {
    for (var i = begin + lane; i < end; i += WG) { grad[i] = vec4f(0.0); }
    return;
  }
  for (var i = begin + lane; i < end; i += WG) {
    let g = grad[i] * scale;
    grad[i] = vec4f(0.0);
    let first = fma(vec4f(params.beta1), m[i], params.rest1 * g);
    let second = fma(vec4f(params.beta2), v[i], params.rest2 * g * g);
    m[i] = first;
    v[i] = second;
    weight[i] = weight[i] * params.decay - params.step * first / fma(sqrt(second), vec4f(params.root), vec4f(params.eps));
  }
}
