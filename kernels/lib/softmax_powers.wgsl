// softmax_powers: softmax by powers of two, of keys that come one after the other in splits of 256.
//   With score in units of log 2: whole = floor(score), part = 2^(score - whole) in 1 .. 2, and a key's weight is
//   part * 2^(whole - M). M is a whole number near the largest `whole` so far. Where it rises, sums are scaled by
//   2^(M_old - M_new), which rounds nothing: so neither the bits of sums, up to that power, nor those of their quotient
//   depend on M. Kernels take any that keeps weights in range: by tile, late (LAZY), or known beforehand
//   The order of sums is part of the bits. In a split of 256 keys, by place in the sequence, every sum is one chain,
//   keys ascending: sum = fma(value, weight, sum), weights = weights + weight. Splits are then added, ascending, to the
//   first that is seen. Decoding adds in the same order (attention_decode*.wgsl): a token's bits are those of training

// Keys of a split: those at places 256 i .. 256 i + 255 of their sequence.
const SPLIT = 256u;

// Below every `whole`: M before any key.
const LEAST = -3.0e38;

// M may stay this far below the largest `whole`.
const LAZY = 16.0;

const LOG2E = 1.44269504088896341;

// Of a score in log 2. Without a cap 1 / log 2 is in the query's factor.
@if(SOFTCAP) const UNIT = LOG2E;
@else const UNIT = 1.0;

// 2^x for x in 0 .. 1: relative error 6e-8. By its own terms, since `exp2` has other bits on other devices.
fn exp2_of(x: f32) -> f32 {
  let high = fma(fma(x, 0.00021612921, 0.0012467845), x, 0.0096754516);
  return fma(fma(fma(fma(high, x, 0.055485282), x, 0.24022931), x, 0.69314706), x, 1.0);
}

fn exp2_of_two(x: vec2f) -> vec2f {
  let high = fma(fma(x, vec2f(0.00021612921), vec2f(0.0012467845)), x, vec2f(0.0096754516));
  let middle = fma(fma(high, x, vec2f(0.055485282)), x, vec2f(0.24022931));
  return fma(fma(middle, x, vec2f(0.69314706)), x, vec2f(1.0));
}

fn exp2_of_four(x: vec4f) -> vec4f {
  let high = fma(fma(x, vec4f(0.00021612921), vec4f(0.0012467845)), x, vec4f(0.0096754516));
  let middle = fma(fma(high, x, vec4f(0.055485282)), x, vec4f(0.24022931));
  return fma(fma(middle, x, vec4f(0.69314706)), x, vec4f(1.0));
}

fn whole_of(score: f32) -> f32 { return floor(score * UNIT); }

fn whole_of_two(score: vec2f) -> vec2f { return floor(score * UNIT); }

fn whole_of_four(score: vec4f) -> vec4f { return floor(score * UNIT); }

fn part_of(score: f32, whole: f32) -> f32 { return exp2_of(fma(score, UNIT, -whole)); }

fn part_of_two(score: vec2f, whole: vec2f) -> vec2f { return exp2_of_two(fma(score, vec2f(UNIT), -whole)); }

fn part_of_four(score: vec4f, whole: vec4f) -> vec4f { return exp2_of_four(fma(score, vec4f(UNIT), -whole)); }

// 2^x for whole x up to 127; 0 where x < -126. The number x + 127 + 2^23 ends in the exponent's bits: a conversion to an
// integer would be guarded by the compiler.
const EXPONENT = 8388735.0;

fn power(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(max(x, -127.0) + EXPONENT) << 23u); }

fn power_of_two(x: vec2f) -> vec2f {
  return bitcast<vec2f>(bitcast<vec2u>(max(x, vec2f(-127.0)) + EXPONENT) << vec2u(23u));
}

fn power_of_four(x: vec4f) -> vec4f {
  return bitcast<vec4f>(bitcast<vec4u>(max(x, vec4f(-127.0)) + EXPONENT) << vec4u(23u));
}

// Whether M must rise to a tile's largest `whole`, LEAST where no key of it is seen.
fn must_rise(most: f32, whole: f32) -> bool { return whole > most + LAZY; }
