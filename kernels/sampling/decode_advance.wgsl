// decode_advance: moves generation on by one token.
//   LOGPROBS: kept[r, state[0] + 1] = logprobs[r], where there is such a column
//   state[0] += 1
// Shapes    in and out state i32 [4+E], as in sample.wgsl; logprobs f32 [R]; out kept f32 [R,T]
// Dispatch  one workgroup: (1,1,1)
// Numerics  moves bits
// Twin      src/ops/sampling/sample.ts#decodeAdvanceF64
import package::lib::grid::WG;

@group(0) @binding(0) var<storage, read_write> state: array<i32>;
@if(LOGPROBS) @group(0) @binding(1) var<storage, read> logprobs: array<f32>;
@if(LOGPROBS) @group(0) @binding(2) var<storage, read_write> kept: array<f32>;

@if(LOGPROBS) struct Params { rows: u32, columns: u32 }
@if(LOGPROBS) @group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  let slot = u32(state[0] + 1);
  @if(LOGPROBS) {
    if (slot < params.columns) {
      for (var r = lane; r < params.rows; r += WG) { kept[r * params.columns + slot] = logprobs[r]; }
    }
  }
  storageBarrier();  // all lanes have read the slot
  if (lane == 0u) { state[0] = i32(slot); }
}
