// matrix_units: the matrices that a GPU multiplies as a whole, and the operands that it takes: f16, in workgroup memory
// as vec4u of eight values. The size is part of a type, so that it is a condition.
import package::lib::weight::{FORMAT, unpack4};

@if(UNIT8) const UNIT = 8u;
@else const UNIT = 16u;
const UNIT_BLOCKS = UNIT / 8u;

@if(UNIT8) alias Left = subgroup_matrix_left<f16, 8, 8>;
@else alias Left = subgroup_matrix_left<f16, 16, 16>;
@if(UNIT8) alias Right = subgroup_matrix_right<f16, 8, 8>;
@else alias Right = subgroup_matrix_right<f16, 16, 16>;
@if(UNIT8) alias Result = subgroup_matrix_result<f32, 8, 8>;
@else alias Result = subgroup_matrix_result<f32, 16, 16>;

override SUBGROUP: u32;  // lanes of every subgroup

// Eight values as they lie: of 16 bits in one vec4u, of f32 in two.
struct Raw { low: vec4u, high: vec4u }

fn pack4(value: vec4f) -> vec2u {
  return vec2u(pack2x16float(value.xy), pack2x16float(value.zw));
}

// Eight values of FORMAT times a power of two, as f16.
fn scaled_halves(raw: Raw, scale: f32) -> vec4u {
  if (FORMAT == 0u) {
    return vec4u(pack4(bitcast<vec4f>(raw.low) * scale), pack4(bitcast<vec4f>(raw.high) * scale));
  }
  return vec4u(pack4(unpack4(raw.low.xy) * scale), pack4(unpack4(raw.low.zw) * scale));
}
