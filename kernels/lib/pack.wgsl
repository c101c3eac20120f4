// pack: f32 values as 16-bit ones of FORMAT, two to a word, the first in the low half; rounded to nearest even.
import package::lib::weight::FORMAT;

// In the low halves. A NaN must not round up to an infinity.
fn bf16_of(bits: vec2u) -> vec2u {
  let rounded = (bits + vec2u(0x7fffu) + ((bits >> vec2u(16u)) & vec2u(1u))) >> vec2u(16u);
  let nan = (bits >> vec2u(16u)) | vec2u(0x40u);
  return select(rounded, nan, (bits & vec2u(0x7fffffffu)) > vec2u(0x7f800000u));
}

// In the low half; beyond 65504: the infinity. By bits, so that every device rounds alike: pack2x16float need not.
fn f16_of(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; }
  if (magnitude >= 0x38800000u) {
    let rebiased = magnitude - 0x38000000u;
    return sign | ((rebiased + 0xfffu + ((rebiased >> 13u) & 1u)) >> 13u);
  }
  // Subnormal: multiples of 2^-24.
  let exponent = magnitude >> 23u;
  if (exponent < 102u) { return sign; }
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = 126u - exponent;
  let kept = mantissa >> shift;
  let rest = mantissa & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let up = select(0u, 1u, rest > half || (rest == half && (kept & 1u) == 1u));
  return sign | (kept + up);
}

// The word of two values, given by their bits.
fn pack2(bits: vec2u) -> u32 {
  if (FORMAT == 2u) { return f16_of(bits.x) | (f16_of(bits.y) << 16u); }
  let halves = bf16_of(bits);
  return halves.x | (halves.y << 16u);
}

// The word of two values, for numbers that are made anew: f16 as pack2x16float rounds, and what is beyond its range
// becomes its largest number.
fn pack2_clamped(x: vec2f) -> u32 {
  if (FORMAT == 2u) { return pack2x16float(clamp(x, vec2f(-65504.0), vec2f(65504.0))); }
  return pack2(bitcast<vec2u>(x));
}
