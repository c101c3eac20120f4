// attention_window: the ranges of rows that see each other where a token sees `window` tokens, itself the last of them.
//   own[i] = (max(bounds[i].x, i + 1 - window), min(bounds[i].y, i + window)): query i sees the keys own[i].x .. i, and
//   the queries i .. own[i].y - 1 see key i
//   PREFIX, with w = window - 1 - (i - bounds[i].x), what of the window is left before the own sequence:
//   before[i] = (ranges[i].y - w, or ranges[i].x where that is later, or ranges[i].y where w < 0, ranges[i].y)
//   walk[i] = (before[i].x, or 2^31 - 1 where before[i] is empty, bounds[i].y)
// Shapes    bounds, ranges i32 [N,2]; out own, before, walk i32 [N,2]
// Dispatch  a lane for each row: ceil(N/WG) workgroups, folded to 2-D past 65535
// Numerics  integers; window <= 2^30
// Twin      src/ops/attention/attention_window.ts#windowRangesF64
import package::lib::grid::{Place, WG, lane_number};

@group(0) @binding(0) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(1) var<storage, read_write> own: array<vec2i>;
@if(PREFIX) @group(0) @binding(2) var<storage, read> ranges: array<vec2i>;
@if(PREFIX) @group(0) @binding(3) var<storage, read_write> before: array<vec2i>;
@if(PREFIX) @group(0) @binding(4) var<storage, read_write> walk: array<vec2i>;

struct Params { rows: u32, window: i32 }
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.rows) { return; }
  let i = i32(index);
  let window = params.window;
  let bound = bounds[index];
  own[index] = vec2i(max(bound.x, i + 1 - window), min(bound.y, i + window));
  @if(PREFIX) {
    let range = ranges[index];
    let begin = max(range.x, range.y - max(window - 1 - (i - bound.x), 0));
    before[index] = vec2i(begin, range.y);
    walk[index] = vec2i(select(0x7fffffff, begin, begin < range.y), bound.y);
  }
}
