// linear_swiglu: the weights of the first half of Llama's MLP, and what it writes.
import package::lib::linear_layer::{params, y};

@group(0) @binding(6) var<storage, read> gate: array<vec4u>;  // [N,K] in FORMAT
@group(0) @binding(7) var<storage, read> up: array<vec4u>;    // as gate

// silu(g) u, of the sums g over the gate and u over up.
fn store(m: u32, n: u32, g: f32, u: f32) {
  if (m >= params.rows || n >= params.columns) { return; }
  y[m * params.stride + n] = g / (1.0 + exp(-g)) * u;
}
