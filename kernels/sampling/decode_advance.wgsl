// decode_advance: moves generation on by one token.
//   state[0] += 1
// Shapes    in and out state i32 [4], as in sample.wgsl
// Dispatch  one lane: (1,1,1)
// Twin      src/ops/sampling/sample.ts#decodeAdvanceI32
@group(0) @binding(0) var<storage, read_write> state: array<i32>;

@compute @workgroup_size(1)
fn main() {
  state[0] += 1;
}
