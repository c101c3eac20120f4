// normal: standard normal noise from counters, as normalNoise of src/rl/rng.ts.
//   WGSL's own log, sin and cos may be 2^-11 off and are another on every driver. These are the polynomials of Cephes
//   (logf, sinf, cosf), whose sums are the same wherever f32 is.
import package::lib::random::philox;

const NOISE_STREAM = 7u;  // STREAM.noise there

// ln(u), u in (0, 1] and no subnormal.
fn ln_unit(u: f32) -> f32 {
  let bits = bitcast<u32>(u);
  let is_low = (bits & 0x7fffffu) < 0x3504f3u;  // below sqrt(2)
  let exponent = f32(i32(bits >> 23u) - select(126, 127, is_low));
  let mantissa = bitcast<f32>((bits & 0x7fffffu) | select(0x3f000000u, 0x3f800000u, is_low));
  let x = mantissa - 1.0;
  let z = x * x;
  var y = fma(7.0376836292e-2, x, -1.1514610310e-1);
  y = fma(y, x, 1.1676998740e-1);
  y = fma(y, x, -1.2420140846e-1);
  y = fma(y, x, 1.4249322787e-1);
  y = fma(y, x, -1.6668057665e-1);
  y = fma(y, x, 2.0000714765e-1);
  y = fma(y, x, -2.4999993993e-1);
  y = fma(y, x, 3.3333331174e-1);
  y = fma(-2.12194440e-4, exponent, y * x * z);
  y = fma(-0.5, z, y);
  return fma(0.693359375, exponent, x + y);
}

// (cos, sin) of 2 pi v, v in [0, 1).
fn circle(v: f32) -> vec2f {
  let quarter = floor(fma(v, 4.0, 0.5));
  let x = fma(v, 4.0, -quarter) * 1.57079632679;
  let z = x * x;
  let s = fma(x * z, fma(z, fma(z, -1.9515295891e-4, 8.3321608736e-3), -1.6666654611e-1), x);
  let tail = fma(z, fma(z, 2.443315711809948e-5, -1.388731625493765e-3), 4.166664568298827e-2);
  let c = fma(z * z, tail, fma(-0.5, z, 1.0));
  let q = u32(quarter) & 3u;
  let turned = select(vec2f(c, s), vec2f(-s, c), (q & 1u) == 1u);
  return select(turned, -turned, q >= 2u);
}

// Elements 4 quad .. 4 quad + 3 of a tensor's noise.
fn normals(seed: u32, tensor: u32, quad: u32) -> vec4f {
  let words = philox(vec4u(quad, tensor, 0u, NOISE_STREAM), vec2u(seed, 0u)) >> vec4u(8u);
  let first = sqrt(-2.0 * ln_unit(f32(words.x + 1u) * 0x1p-24));
  let second = sqrt(-2.0 * ln_unit(f32(words.z + 1u) * 0x1p-24));
  return vec4f(first * circle(f32(words.y) * 0x1p-24), second * circle(f32(words.w) * 0x1p-24));
}
