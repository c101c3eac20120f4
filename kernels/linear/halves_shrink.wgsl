// halves_shrink: halves.wgsl and lora_shrink.wgsl of one x in one dispatch: the two do not wait for each other.
//   values[m,k] = round(x[m,k] 2^shift[m]);  parts[p,m,r] = sum of x[m,k] a[r,k] over the k of part p
// Shapes    as there; x f32 [M,K], K a multiple of 4, of 8 when a is packed
// Dispatch  M workgroups that make a row of halves each, then a workgroup for each tile of the parts:
//           (M + ceil(R / 16) ceil(M / (16 RUN)) ceil(K / 256), 1, 1)
// Numerics  those of the two
// Twin      src/ops/linear/halves.ts#halvesF64, src/ops/linear/lora_shrink.ts#loraShrinkF64
import package::lib::f16_range::{power, shift_of};
import package::lib::lora_shrink::{params, x};
import package::lib::lora_shrink_tile::{LANES, RUN, shrink_tile, TILE};

@group(0) @binding(6) var<storage, read_write> values: array<vec2u>;
@group(0) @binding(7) var<storage, read_write> shift: array<i32>;

const HALVES_STEP = 32u;  // a row of halves is a multiple of it long, as halves.wgsl has it

var<workgroup> largest: array<u32, LANES>;

// Values 4q .. 4q+3 of a row, zeros from K on.
fn quad(row: u32, q: u32) -> vec4f {
  let quads = params.width / 4u;
  return select(vec4f(), x[row * quads + min(q, quads - 1u)], q < quads);
}

fn halve_row(row: u32, lane: u32) {
  var most = vec4u();
  for (var q = lane; q < params.width / 4u; q += LANES) {
    most = max(most, bitcast<vec4u>(quad(row, q)) & vec4u(0x7fffffffu));
  }
  largest[lane] = max(max(most.x, most.y), max(most.z, most.w));
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { largest[lane] = max(largest[lane], largest[lane + half]); }
  }
  workgroupBarrier();
  let s = shift_of(largest[0]);
  if (lane == 0u) { shift[row] = s; }
  let pitch = (params.width + HALVES_STEP - 1u) / HALVES_STEP * (HALVES_STEP / 4u);  // in quads
  for (var q = lane; q < pitch; q += LANES) {
    let shifted = quad(row, q) * power(s);
    values[row * pitch + q] = vec2u(pack2x16float(shifted.xy), pack2x16float(shifted.zw));
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (group.x < params.rows) {
    halve_row(group.x, lane);
  } else {
    let tile = group.x - params.rows;
    let columns = (params.ranks + TILE - 1u) / TILE;
    let rows = (params.rows + TILE * RUN - 1u) / (TILE * RUN);
    shrink_tile(lane, tile / columns % rows * TILE * RUN, tile % columns * TILE, tile / columns / rows);
  }
}
