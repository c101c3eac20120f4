// rope: rotary position embedding, Hugging Face Llama convention (first half of a head against its second half).
//   y[n,h,c]      = x[n,h,c] cos[t,c] - s x[n,h,c+D/2] sin[t,c]      t = positions[n], c < D/2
//   y[n,h,c+D/2]  = x[n,h,c+D/2] cos[t,c] + s x[n,h,c] sin[t,c]      s = +1, or -1 for the inverse (its gradient)
// Shapes    x f32 [N,H*D]; positions i32 [N]; cos, sin f32 [P,R/2]; out y f32 [N,H*D]; D and R <= D multiples of 4: the
//           first R values of a head turn so, as if D were R, and the others stay
// Dispatch  one lane per two pairs of four heads: ceil(N * ceil(H/4) * D/4 / WG) workgroups, folded to 2-D past 65535
// Numerics  f32; cos and sin come from a table made in f64, as in-shader sin is not accurate at large angles
// Twin      src/ops/attention/rope.ts#ropeF64     Gradient: this kernel with sign = -1
import package::lib::grid::{Place, WG, lane_number};
import package::lib::rope::{HEADS_PER_LANE, share_of, turn_of, turned, units_of};

struct Params { count: u32, heads: u32, quarter: u32, part: u32, last_position: u32, sign: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2f>;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.count) { return; }
  let share = share_of(index, units_of(params.heads), params.quarter);
  let turn = turn_of(share, params.quarter, params.part, params.last_position);
  let sine = turn.sine * params.sign;
  let first_head = share.unit * HEADS_PER_LANE;
  for (var head = first_head; head < min(first_head + HEADS_PER_LANE, params.heads); head++) {
    let begin = (share.row * params.heads + head) * 2u * params.quarter;
    let both = turned(x[begin + turn.a], x[begin + turn.b], turn.cosine, sine);
    y[begin + turn.a] = both[0];
    y[begin + turn.b] = both[1];
  }
}
