// gelu: the tanh form of GELU by a logistic function, which unlike tanh overflows to nothing but its limits.
//   gelu(g) = g/2 (1 + tanh(u)) = g s,   s = 1 / (1 + exp(-2u)),   u = sqrt(2/pi) (g + 0.044715 g^3)
import package::lib::values::Value;

const TWICE_SLOPE = 1.5957691216057308;  // 2 sqrt(2/pi)
const CUBIC = 0.044715;

// s: what gelu multiplies g by.
fn gelu_share(g: Value) -> Value {
  return 1.0 / (1.0 + exp(-TWICE_SLOPE * g * (1.0 + CUBIC * g * g)));
}

// Derivative of gelu. @param s  gelu_share(g)
fn gelu_slope(g: Value, s: Value) -> Value {
  return s + g * s * (1.0 - s) * TWICE_SLOPE * (1.0 + 3.0 * CUBIC * g * g);
}
