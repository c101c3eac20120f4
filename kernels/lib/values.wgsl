// values: what a lane takes at a time: a value, or with VEC4, where a size is a multiple of 4, four of them.
@if(VEC4) alias Value = vec4f;
@else alias Value = f32;
@if(VEC4) const VALUE_SIZE = 4u;
@else const VALUE_SIZE = 1u;

@if(VEC4) fn sum_of(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
@else fn sum_of(value: Value) -> f32 { return value; }
