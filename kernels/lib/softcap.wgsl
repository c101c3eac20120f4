// softcap: cap tanh(x / cap): x where it is small, never beyond the cap (Gemma 2, arXiv:2408.00118).

// WGSL lets the built-in tanh err by 1e-5. Below 0.2, where 1 - e would cancel, this is the series up to x^7, which
// leaves 6e-8 of it out.
fn tanh_of(x: f32) -> f32 {
  let far = abs(x);
  let e = exp(-2.0 * far);
  let y = x * x;
  let near = fma(x * y, fma(y, fma(y, -17.0 / 315.0, 2.0 / 15.0), -1.0 / 3.0), x);
  return select(sign(x) * ((1.0 - e) / (1.0 + e)), near, far < 0.2);
}

fn capped(x: f32, cap: f32) -> f32 { return cap * tanh_of(x / cap); }

fn capped_two(x: vec2f, cap: f32) -> vec2f { return vec2f(capped(x.x, cap), capped(x.y, cap)); }

fn capped_four(x: vec4f, cap: f32) -> vec4f {
  return vec4f(capped(x.x, cap), capped(x.y, cap), capped(x.z, cap), capped(x.w, cap));
}

// What of a gradient goes through, of the value that came out.
fn slope(y: f32, cap: f32) -> f32 {
  let t = y / cap;
  return fma(-t, t, 1.0);
}

fn slope_two(y: vec2f, cap: f32) -> vec2f { return vec2f(slope(y.x, cap), slope(y.y, cap)); }

fn slope_four(y: vec4f, cap: f32) -> vec4f {
  return vec4f(slope(y.x, cap), slope(y.y, cap), slope(y.z, cap), slope(y.w, cap));
}
