// norm_weight: what a norm's weight multiplies by: itself, or with UNIT_OFFSET, as Gemma stores it, 1 + itself.
import package::lib::values::Value;

@if(UNIT_OFFSET) fn factor(w: Value) -> Value { return 1.0 + w; }
@else fn factor(w: Value) -> Value { return w; }
