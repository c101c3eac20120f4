// attention_grad: what the gradients of attention are given beside its own inputs, and what they write.
@group(0) @binding(7) var<storage, read> stats: array<vec2f>;  // attention_grad_stats.wgsl: (lse, delta)
@group(0) @binding(8) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> dv: array<vec4f>;
