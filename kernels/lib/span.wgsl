// span: a workgroup's run of a flat tensor: SPAN values or vec4s, lane by lane.
//   for (var i = span_begin(place); i < span_end(place, count); i += WG) { ... }
import package::lib::grid::{Place, workgroup_number};

override SPAN: u32;  // src/gpu/grids.ts

fn span_begin(place: Place) -> u32 {
  return workgroup_number(place) * SPAN + place.lane;
}

fn span_end(place: Place, count: u32) -> u32 {
  return min((workgroup_number(place) + 1u) * SPAN, count);
}
