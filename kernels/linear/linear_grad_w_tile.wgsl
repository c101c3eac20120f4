// linear_grad_w_tile: linear_grad_w for GPUs with fast workgroup memory. The same product, the same bits.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    as linear_grad_w.wgsl: dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]
//           K and S multiples of 4
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns of dw: (ceil(K / TILE_N), ceil(N / TILE_M), 1)
// Numerics  f32, rows m strictly in order by fma onto dw
// Why       as in linear_tile.wgsl: slabs of TILE_K rows lie in workgroup memory as they lie in dy and x
// Twin      src/ops/linear/linear.ts#linearGradF64
override TILE_M: u32 = 64u;  // a multiple of LANE_M
override TILE_N: u32 = 64u;  // a multiple of LANE_N
override TILE_K: u32 = 16u;
override LANE_M: u32 = 8u;   // rows of dw a lane makes: 4 or 8
override LANE_N: u32 = 4u;   // columns a lane makes: 4 or 8

override WG_X = TILE_N / LANE_N;
override WG_Y = TILE_M / LANE_M;
override D_LINE = TILE_M / 4u;
override X_LINE = TILE_N / 4u;
override D_SIZE = TILE_K * D_LINE;
override X_SIZE = TILE_K * X_LINE;
override ROW_QUADS = LANE_M / 4u;
override COLUMN_QUADS = LANE_N / 4u;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> dSlab: array<vec4f, D_SIZE>;  // [TILE_K][rows of dw]
var<workgroup> xSlab: array<vec4f, X_SIZE>;  // [TILE_K][columns]

// Rows and columns beyond the last repeat it, and are not used.
fn stageD(quad: u32, n: u32, m: u32) {
  let row = min(m + quad / D_LINE, params.rows - 1u);
  dSlab[quad] = dy[row * (params.stride / 4u) + min(n + quad % D_LINE, (params.columns - 1u) / 4u)];
}

fn stageX(quad: u32, k: u32, m: u32) {
  let quads = params.width / 4u;
  let row = min(m + quad / X_LINE, params.rows - 1u);
  xSlab[quad] = x[row * quads + min(k + quad % X_LINE, quads - 1u)];
}

// One m of the slab onto the lane's sums.
fn addProducts(m: u32, local: vec2u, sums: ptr<function, array<vec4f, 16>>) {
  for (var i = 0u; i < ROW_QUADS; i++) {
    let dm = dSlab[m * D_LINE + local.y + WG_Y * i];
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      let xm = xSlab[m * X_LINE + local.x + WG_X * j];
      for (var r = 0u; r < 4u; r++) {
        (*sums)[i * 8u + r * 2u + j] = fma(vec4f(dm[r]), xm, (*sums)[i * 8u + r * 2u + j]);
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
  let n = group.y * (TILE_M / 4u);
  let k = group.x * (TILE_N / 4u);
  let quads = params.width / 4u;
  let lanes = WG_X * WG_Y;
  var sums: array<vec4f, 16>;  // [2 row quads][4 rows][2 column quads]
  for (var i = 0u; i < ROW_QUADS; i++) {
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      for (var r = 0u; r < 4u; r++) {
        let row = min((n + local.y + WG_Y * i) * 4u + r, params.columns - 1u);
        sums[i * 8u + r * 2u + j] = dw[row * quads + min(k + local.x + WG_X * j, quads - 1u)];
      }
    }
  }
  for (var first = 0u; first < params.rows; first += TILE_K) {
    for (var quad = lane; quad < D_SIZE; quad += lanes) { stageD(quad, n, first); }
    for (var quad = lane; quad < X_SIZE; quad += lanes) { stageX(quad, k, first); }
    workgroupBarrier();
    // A whole slab has a length that the compiler knows. A zero added in the last one would turn -0 into 0.
    if (first + TILE_K <= params.rows) {
      for (var m = 0u; m < TILE_K; m++) { addProducts(m, local.xy, &sums); }
    } else {
      for (var m = 0u; m < params.rows - first; m++) { addProducts(m, local.xy, &sums); }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < ROW_QUADS; i++) {
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      let column = k + local.x + WG_X * j;
      for (var r = 0u; r < 4u; r++) {
        let row = (n + local.y + WG_Y * i) * 4u + r;
        if (row < params.columns && column < quads) { dw[row * quads + column] = sums[i * 8u + r * 2u + j]; }
      }
    }
  }
}
