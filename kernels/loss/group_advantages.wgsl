// group_advantages: group-relative advantages (arXiv:2402.03300).
//   A[i] = (r[i] - mean_g) / (std + 1e-4),  std (n-1) of the group (SCALE 0) or the batch (1), no division (2)
//   A NaN score is a completion without one: A = 0, and it enters no mean and no deviation.
// Shapes    scores f32 [N], groups of G one after the other; out advantages f32 [N]
// Dispatch  one workgroup; each lane takes every WG-th group
// Numerics  f32, two passes, in order, over differences from the first score: scores that agree give exactly 0
// Twin      src/rl/advantages.ts#groupAdvantagesF64     Gradient: none (scores are constants)
import package::lib::grid::WG;

override SCALE: u32 = 0u;

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> advantages: array<f32>;

struct Params { count: u32, group_size: u32 }
@group(0) @binding(2) var<uniform> params: Params;

// The mean is first + offset; kept apart, so that differences of scores far from 0 keep their digits.
struct Moments { first: f32, offset: f32, deviation: f32 }

// By bits: a compiler may assume that f32 arithmetic makes no NaN.
fn is_missing(score: f32) -> bool { return (bitcast<u32>(score) & 0x7fffffffu) > 0x7f800000u; }

fn centred(score: f32, about: Moments) -> f32 { return (score - about.first) - about.offset; }

fn moments(begin: u32, end: u32) -> Moments {
  var about = Moments(0.0, 0.0, 0.0);
  var present = 0.0;
  for (var i = begin; i < end; i++) {
    if (is_missing(scores[i])) { continue; }
    if (present == 0.0) { about.first = scores[i]; }
    about.offset += scores[i] - about.first;
    present += 1.0;
  }
  if (present < 2.0) { return about; }
  about.offset /= present;
  var squares = 0.0;
  for (var i = begin; i < end; i++) {
    if (is_missing(scores[i])) { continue; }
    let difference = centred(scores[i], about);
    squares += difference * difference;
  }
  about.deviation = sqrt(squares / (present - 1.0));
  return about;
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var batch_deviation = 0.0;
  if (SCALE == 1u) { batch_deviation = moments(0u, params.count).deviation; }
  for (var g = lane; g * params.group_size < params.count; g += WG) {
    let begin = g * params.group_size;
    let end = begin + params.group_size;
    let group = moments(begin, end);
    var divisor = 1.0;
    if (SCALE == 0u) { divisor = group.deviation + 1e-4; }
    if (SCALE == 1u) { divisor = batch_deviation + 1e-4; }
    for (var i = begin; i < end; i++) {
      if (is_missing(scores[i])) { advantages[i] = 0.0; } else { advantages[i] = centred(scores[i], group) / divisor; }
    }
  }
}
