// random: counter-based random numbers, Philox4x32-10, as src/rl/rng.ts draws them.

// The upper 32 bits of a product.
fn mul_hi(a: u32, b: u32) -> u32 {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u);
}

// Four words: philox4x32 there.
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0; round < 10; round++) {
    let high = vec2u(mul_hi(0xcd9e8d57u, c.z), mul_hi(0xd2511f53u, c.x));
    c = vec4u(high.x ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high.y ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

// Uniform in [0,1), by 24 bits: uniform01 there.
fn philox_uniform(counter: vec4u, key: vec2u) -> f32 {
  return f32(philox(counter, key).x >> 8u) * 0x1p-24;
}
