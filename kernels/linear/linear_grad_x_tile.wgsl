// linear_grad_x_tile: linear_grad_x for GPUs with fast workgroup memory. The same product, the same bits.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    as linear_grad_x.wgsl: dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; out dx f32 [M,K]
//           K a multiple of 4 (of 8 when w is packed), S of 4
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns of dx: (ceil(K / TILE_N), ceil(M / TILE_M), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx)
// Why       as in linear_tile.wgsl: slabs of TILE_K summands lie in workgroup memory, n by n, and every line has one
//           vec4 to spare
// Twin      src/ops/linear/linear.ts#linearGradF64
override TILE_M: u32 = 64u;  // a multiple of LANE_M
override TILE_N: u32 = 64u;  // a multiple of LANE_N
override TILE_K: u32 = 16u;  // a multiple of 4
override LANE_M: u32 = 8u;   // rows a lane makes: 4 or 8
override LANE_N: u32 = 4u;   // columns a lane makes: 4 or 8
override FORMAT: u32 = 0u;   // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override ADD: u32 = 0u;      // 1: go on from dx, for w in windows of rows

override WG_X = TILE_N / LANE_N;
override WG_Y = TILE_M / LANE_M;
override D_LINE = TILE_M / 4u + 1u;
override W_LINE = TILE_N / 4u + 1u;
override D_SIZE = TILE_K * D_LINE;
override W_SIZE = TILE_K * W_LINE;
override ROW_QUADS = LANE_M / 4u;
override COLUMN_QUADS = LANE_N / 4u;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> dSlab: array<vec4f, D_SIZE>;  // [TILE_K][rows]
var<workgroup> wSlab: array<vec4f, W_SIZE>;  // [TILE_K][columns]

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Values 4i .. 4i+3 of the weight.
fn weight4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(w[i]); }
  let quad = w[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

// Stages 4 rows x 4 n of dy, turned so that a line holds rows. Rows and n beyond the last repeat it, and are not used.
fn stageD(block: u32, m: u32, quad: u32) {
  let step = params.stride / 4u;
  let last = params.rows - 1u;
  let row = block / (TILE_K / 4u);
  let depth = block % (TILE_K / 4u);
  let q = min(quad + depth, (params.columns - 1u) / 4u);
  let r = m + row * 4u;
  let turned = transpose(mat4x4f(
    dy[min(r, last) * step + q],
    dy[min(r + 1u, last) * step + q],
    dy[min(r + 2u, last) * step + q],
    dy[min(r + 3u, last) * step + q],
  ));
  for (var j = 0u; j < 4u; j++) { dSlab[(depth * 4u + j) * D_LINE + row] = turned[j]; }
}

fn stageW(quad: u32, k: u32, n: u32) {
  let quads = params.width / 4u;
  let column = quad % (TILE_N / 4u);
  let depth = quad / (TILE_N / 4u);
  wSlab[depth * W_LINE + column] = weight4(min(n + depth, params.columns - 1u) * quads + min(k + column, quads - 1u));
}

// One n of the slab onto the lane's sums.
fn addProducts(n: u32, local: vec2u, sums: ptr<function, array<vec4f, 16>>) {
  for (var i = 0u; i < ROW_QUADS; i++) {
    let dn = dSlab[n * D_LINE + local.y + WG_Y * i];
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      let wn = wSlab[n * W_LINE + local.x + WG_X * j];
      for (var r = 0u; r < 4u; r++) {
        (*sums)[i * 8u + r * 2u + j] = fma(vec4f(dn[r]), wn, (*sums)[i * 8u + r * 2u + j]);
      }
    }
  }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let m = group.y * TILE_M;
  let k = group.x * (TILE_N / 4u);
  let quads = params.width / 4u;
  let lanes = WG_X * WG_Y;
  let dBlocks = TILE_M * TILE_K / 16u;
  let wQuads = TILE_N * TILE_K / 4u;
  var sums: array<vec4f, 16>;  // [2 row quads][4 rows][2 column quads]
  if (ADD == 1u) {
    for (var i = 0u; i < ROW_QUADS; i++) {
      for (var j = 0u; j < COLUMN_QUADS; j++) {
        for (var r = 0u; r < 4u; r++) {
          let row = min(m + (local.y + WG_Y * i) * 4u + r, params.rows - 1u);
          sums[i * 8u + r * 2u + j] = dx[row * quads + min(k + local.x + WG_X * j, quads - 1u)];
        }
      }
    }
  }
  for (var first = 0u; first < params.columns; first += TILE_K) {
    for (var block = lane; block < dBlocks; block += lanes) { stageD(block, m, first / 4u); }
    for (var quad = lane; quad < wQuads; quad += lanes) { stageW(quad, k, first); }
    workgroupBarrier();
    // A whole slab has a length that the compiler knows. A zero added in the last one would turn -0 into 0.
    if (first + TILE_K <= params.columns) {
      for (var n = 0u; n < TILE_K; n++) { addProducts(n, local.xy, &sums); }
    } else {
      for (var n = 0u; n < params.columns - first; n++) { addProducts(n, local.xy, &sums); }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < ROW_QUADS; i++) {
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      let column = k + local.x + WG_X * j;
      for (var r = 0u; r < 4u; r++) {
        let row = m + (local.y + WG_Y * i) * 4u + r;
        if (row < params.rows && column < quads) { dx[row * quads + column] = sums[i * 8u + r * 2u + j]; }
      }
    }
  }
}
