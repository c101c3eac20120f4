// logsumexp: sums over a row of logits z, the largest of them taken out as it is found (arXiv:1805.02867).
import package::lib::grid::WG;

const LOWEST = -3.0e38;
const FAR = -1.0e30;  // exp(FAR) = 0, and FAR * 0 = 0 where -inf * 0 would not be

// With top the largest z so far: sum of exp(z - top), and of (z - top) exp(z - top).
struct Partial { top: f32, sum: f32, weighted: f32 }
var<workgroup> lanes_partials: array<Partial, WG>;

fn raise(partial: Partial, top: f32) -> Partial {
  let gap = max(partial.top - top, FAR);
  let shrink = exp(gap);
  return Partial(top, partial.sum * shrink, shrink * fma(gap, partial.sum, partial.weighted));
}

fn merge(a: Partial, b: Partial) -> Partial {
  let top = max(a.top, b.top);
  let left = raise(a, top);
  let right = raise(b, top);
  return Partial(top, left.sum + right.sum, left.weighted + right.weighted);
}

fn largest(z: vec4f) -> f32 { return max(max(z.x, z.y), max(z.z, z.w)); }

// With four logits more, those that do not count LOWEST.
fn with_four(partial: Partial, z: vec4f) -> Partial {
  var seen = partial;
  let high = largest(z);
  if (high > seen.top) { seen = raise(seen, high); }
  let gap = max(z - seen.top, vec4f(FAR));
  let weight = exp(gap);
  seen.sum += (weight.x + weight.y) + (weight.z + weight.w);
  seen.weighted += dot(gap, weight);
  return seen;
}

// What all lanes have seen, merged in a tree of fixed order. WG is a power of two.
fn workgroup_merge(lane: u32, seen: Partial) -> Partial {
  lanes_partials[lane] = seen;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { lanes_partials[lane] = merge(lanes_partials[lane], lanes_partials[lane + half]); }
    workgroupBarrier();
  }
  return lanes_partials[0];
}
