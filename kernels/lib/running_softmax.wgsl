// running_softmax: one that takes the scores of keys one after the other: their maximum so far, and sums of
//   exp(score - maximum).

// Below every score: where the maximum begins.
const LEAST = -3.0e38;

// What a key changes: the maximum, what the sums so far keep of themselves, and the key's own weight.
struct Met {
  most: f32,
  keep: f32,
  p: f32,
}

// A key that is not seen gets weight 0 and no say in the maximum.
fn meet(most: f32, score: f32, seen: bool) -> Met {
  let rise = score - most;
  let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
  let rises = seen && rise > 0.0;
  return Met(select(most, score, rises), select(1.0, shrunk, rises), select(select(0.0, shrunk, seen), 1.0, rises));
}
