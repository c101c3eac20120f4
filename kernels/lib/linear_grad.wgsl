// linear_grad: reads and writes the gradient of a linear layer that its kernels add to, four rows of four columns.
import package::lib::linear_layer::{grad, params, rows_from, Tiles};

// Columns 4k .. 4k+3 of rows i .. i+3 of `count`; those beyond the last repeat it.
fn grad_tile(i: u32, count: u32, k: u32) -> mat4x4f {
  let at = rows_from(i, count, params.width / 4u) + k;
  return mat4x4f(grad[at.x], grad[at.y], grad[at.z], grad[at.w]);
}

// What the chains of dx begin with: ADD goes on from what is there.
@if(ADD)
fn start_tile(m: u32, k: u32) -> mat4x4f {
  return grad_tile(m, params.rows, k);
}
@else
fn start_tile(m: u32, k: u32) -> mat4x4f {
  return mat4x4f();
}

fn store_row(i: u32, count: u32, k: u32, sums: vec4f) {
  if (i < count && k < params.width / 4u) { grad[i * (params.width / 4u) + k] = sums; }
}

fn store_tile(i: u32, count: u32, k: u32, tile: mat4x4f) {
  store_row(i, count, k, tile[0]);
  store_row(i + 1u, count, k, tile[1]);
  store_row(i + 2u, count, k, tile[2]);
  store_row(i + 3u, count, k, tile[3]);
}

// Of a lane that makes 8 rows, at columns 4k and 4l.
fn store_tiles(i: u32, count: u32, k: u32, l: u32, tiles: Tiles) {
  store_tile(i, count, k, tiles[0]);
  store_tile(i, count, l, tiles[1]);
  store_tile(i + 4u, count, k, tiles[2]);
  store_tile(i + 4u, count, l, tiles[3]);
}
