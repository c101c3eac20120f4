// pack: f32 values as 16-bit ones, two to a word (the even one in the low half), rounded to nearest even.
//   words[i] = bits16(values[2i]) | bits16(values[2i+1]) << 16
// Shapes    values f32 [2N]; out words u32 [N].  FORMAT 1 bf16, 2 f16 (beyond 65504: the infinity)
// Dispatch  one lane per word: (ceil(N/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/weight/pack.ts#packWords
override WG: u32 = 256u;
override FORMAT: u32 = 1u;

struct Params { words: u32 }
@group(0) @binding(0) var<storage, read> values: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

fn bf16(bits: u32) -> u32 {
  // A NaN must not round up to an infinity.
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// By bits, so that every device rounds alike: pack2x16float leaves it open.
fn f16(bits: u32) -> u32 {
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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.words) { return; }
  let pair = values[i];
  if (FORMAT == 1u) { words[i] = bf16(pair.x) | (bf16(pair.y) << 16u); } else { words[i] = f16(pair.x) | (f16(pair.y) << 16u); }
}
