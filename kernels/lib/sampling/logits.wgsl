// logits: those of the row that a workgroup samples from, and room for its lanes to work with.
//   VEC4, for GPUs: lanes go through a row by vec4s, side by side.
import package::lib::grid::WG;
import package::lib::values::Value;

struct Params {
  rows: u32,
  vocab: u32,
  columns: u32,
  top_k: u32,
  temperature: f32,
  top_p: f32,
  min_p_gap: f32,  // temperature * ln(min_p)
  repetition_penalty: f32,
}
@group(0) @binding(0) var<storage, read> logits: array<Value>;
@if(PENALTY) @group(0) @binding(7) var<storage, read_write> seen: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial_index: array<u32, WG>;
override SCRATCH: u32;  // whoever dispatches says: a multiple of WG
var<workgroup> scratch: array<f32, SCRATCH>;  // bins or blocks of every lane

// Where a row's logits and its bits of `seen` begin.
struct Row { logits: u32, seen: u32 }

@if(PENALTY)
fn penalised(x: f32, is_held: bool) -> f32 {
  if (!is_held) { return x; }
  return select(x / params.repetition_penalty, x * params.repetition_penalty, x < 0.0);
}

fn logit_at(row: Row, v: u32) -> f32 {
  @if(VEC4) let x = logits[(row.logits + v) / 4u][v % 4u];
  @else let x = logits[row.logits + v];
  @if(PENALTY) return penalised(x, (seen[row.seen + v / 32u] & (1u << (v % 32u))) != 0u);
  @else return x;
}

// Logits 4 quad .. 4 quad + 3.
@if(VEC4)
fn logits_at(row: Row, quad: u32) -> vec4f {
  let x = logits[row.logits / 4u + quad];
  @if(PENALTY) {
    let bits = seen[row.seen + quad / 8u] >> (4u * (quad % 8u));
    return vec4f(
      penalised(x.x, (bits & 1u) != 0u),
      penalised(x.y, (bits & 2u) != 0u),
      penalised(x.z, (bits & 4u) != 0u),
      penalised(x.w, (bits & 8u) != 0u),
    );
  }
  @else return x;
}

// Four quads, WG apart, whose loads are under way together. Whoever asks looks only at those that the row has.
@if(VEC4) struct Quads { a: vec4f, b: vec4f, c: vec4f, d: vec4f }
@if(VEC4)
fn quads_at(row: Row, quad: u32) -> Quads {
  return Quads(
    logits_at(row, quad),
    logits_at(row, quad + WG),
    logits_at(row, quad + 2u * WG),
    logits_at(row, quad + 3u * WG),
  );
}

// Integers in the order of the floats; -0 and 0 are equal there too.
fn order_key(x: f32) -> u32 {
  let bits = select(bitcast<u32>(x), 0u, x == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn weight_of(x: f32, peak: f32) -> f32 { return exp((x - peak) / params.temperature); }
