// member_factors: the factors of a population's low-rank perturbations (EGGROLL, arXiv:2511.16652), made from counters.
//   factors[i,e] = eps(seed_i, layer, e), times coefficient_i where e < outputs: in the factors A, which come first
// Shapes    terms u32 [members,2]: seed, and the bits of an f32 coefficient; out factors f32 [members, pitch]; pitch
//           and outputs in vec4s
// Dispatch  one workgroup per SPAN vec4s of a member, (ceil(pitch/SPAN) members,1,1), folded to 2-D past 65535
// Twin      src/ops/population/member_factors.ts#memberFactorsF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::normal::normals;
import package::lib::span::SPAN;

@group(0) @binding(0) var<storage, read> terms: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> factors: array<vec4f>;

struct Params { members: u32, pitch: u32, outputs: u32, layer: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let spans = (params.pitch + SPAN - 1u) / SPAN;
  let member = workgroup_number(place) / spans;
  if (member >= params.members) { return; }
  let begin = workgroup_number(place) % spans * SPAN;
  let term = terms[member];
  for (var e = begin + place.lane; e < min(begin + SPAN, params.pitch); e += WG) {
    let weight = select(1.0, bitcast<f32>(term.y), e < params.outputs);
    factors[member * params.pitch + e] = weight * normals(term.x, params.layer, e);
  }
}
