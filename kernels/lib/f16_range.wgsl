// f16_range: powers of two that bring values into the range of f16 and back.

// The power that puts a magnitude, given by its bits, into [2^14, 2^15): 29 binary orders in which f16 keeps all of its
// bits lie below. Kept within -126 .. 126; of zero, and of what is below f32's normal numbers: 126.
fn shift_of(magnitude: u32) -> i32 {
  return clamp(141 - i32(magnitude >> 23u), -126, 126);
}

// 2^e for e from -126 to 127.
fn power(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

// value 2^e for e from -252 to 252, in two steps: neither leaves f32 when value and result are within it.
fn shifted(value: f32, e: i32) -> f32 {
  return value * power(e / 2) * power(e - e / 2);
}
