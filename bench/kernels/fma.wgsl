// fma: multiply-adds in registers; the most f32 FLOP per second that a kernel of this device can do.
//   8 independent chains acc = acc * 0.5 + first, 4 links each per round: 8 * 4 * 2 * ROUNDS FLOP a lane
// Shapes    start f32 [1]; out f32 [lanes], the sum of the chains, so that none can be left out
// Dispatch  one lane per element of out: (lanes/WG,1,1); lanes a multiple of WG
// Numerics  8 scalar chains fill the latency of an FMA unit and still fit 16 vector registers of a CPU
// Twin      none: its value is of no use (each chain tends to 2 * first)     Run by bench/ceilings.ts#measureCeilings
override WG: u32 = 64u;
override ROUNDS: u32 = 256u;

@group(0) @binding(0) var<storage, read> start: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let first = start[0] + f32(id.x);
  var a = first;
  var b = first + 1.0;
  var c = first + 2.0;
  var d = first + 3.0;
  var e = first + 4.0;
  var f = first + 5.0;
  var g = first + 6.0;
  var h = first + 7.0;
  for (var round = 0u; round < ROUNDS; round++) {
    for (var link = 0u; link < 4u; link++) { // short and fixed: compilers unroll it
      a = fma(a, 0.5, first);
      b = fma(b, 0.5, first);
      c = fma(c, 0.5, first);
      d = fma(d, 0.5, first);
      e = fma(e, 0.5, first);
      f = fma(f, 0.5, first);
      g = fma(g, 0.5, first);
      h = fma(h, 0.5, first);
    }
  }
  out[id.x] = a + b + c + d + e + f + g + h;
}
