// logits: those of the row that a workgroup samples from, and room for its lanes to work with.
import package::lib::grid::WG;

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
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@if(PENALTY) @group(0) @binding(7) var<storage, read_write> seen: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial_index: array<u32, WG>;
const SCRATCH = 2048u;
var<workgroup> scratch: array<f32, SCRATCH>;  // bins or blocks of every lane

// Where a row's logits and its bits of `seen` begin.
struct Row { logits: u32, seen: u32 }

fn logit_at(row: Row, v: u32) -> f32 {
  let x = logits[row.logits + v];
  @if(PENALTY) {
    if ((seen[row.seen + v / 32u] & (1u << (v % 32u))) != 0u) {
      return select(x / params.repetition_penalty, x * params.repetition_penalty, x < 0.0);
    }
  }
  return x;
}

// Integers in the order of the floats; -0 and 0 are equal there too.
fn order_key(x: f32) -> u32 {
  let bits = select(bitcast<u32>(x), 0u, x == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn weight_of(x: f32, peak: f32) -> f32 { return exp((x - peak) / params.temperature); }
