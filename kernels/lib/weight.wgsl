// weight: values of weights and of key pools, which lie as f32 or two 16-bit values to a word, the first in the low
// half.
override FORMAT: u32 = 0u;  // 0 f32, 1 bf16, 2 f16: FORMAT_CODE in src/ops/weight/weight.ts

// The two values of a packed word.
fn unpack2(word: u32) -> vec2f {
  if (FORMAT == 1u) { return vec2f(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u)); }
  return unpack2x16float(word);
}

// The four values of two packed words.
fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Value i, of the word that holds it.
fn value_of(word: u32, i: u32, format: u32) -> f32 {
  if (format == 0u) { return bitcast<f32>(word); }
  let is_high = (i & 1u) == 1u;
  if (format == 1u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, is_high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, is_high);
}

// How many times four values lie in 16 bytes.
fn quads_per_load() -> u32 {
  return select(2u, 1u, FORMAT == 0u);
}

// Where values 4i .. 4i+3 begin in an array of vec4u.
fn quad_of(i: u32) -> u32 {
  return select(i / 2u, i, FORMAT == 0u);
}

// Values 4i .. 4i+3, of the vec4u at quad_of(i).
fn values4(quad: vec4u, i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(quad); }
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}
