// softcap_values: lib/softcap.wgsl of what a lane takes at a time.
import package::lib::softcap::{capped, capped_four, slope, slope_four};
import package::lib::values::Value;

fn capped_value(x: Value, cap: f32) -> Value {
  @if(VEC4) return capped_four(x, cap);
  @else return capped(x, cap);
}

fn slope_value(y: Value, cap: f32) -> Value {
  @if(VEC4) return slope_four(y, cap);
  @else return slope(y, cap);
}
