// subgroup_matrix: tensor-core multiply-adds in registers; the most f16 FLOP per second, summed in f32, of this device.
//   4 independent chains acc = A B + acc of 16x16x16 tiles: 4 * 2 * 16^3 * ROUNDS FLOP a subgroup
// Shapes    tiles f16 [2*256], A then B; out f32 [workgroups*4*256], every chain's end, so that none can be left out
// Dispatch  one subgroup a workgroup, WG lanes being the device's largest subgroup: (workgroups,1,1)
// Numerics  four chains cover the latency of a tensor core; A and B of zeros keep every sum finite
// Twin      none: its value is of no use     Run by bench/ceilings.ts#measureCeilings
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
override WG: u32 = 32u;
override ROUNDS: u32 = 256u;

@group(0) @binding(0) var<storage, read> tiles: array<f16>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u) {
  let a = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>>(&tiles, 0u, false, 16u);
  let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>>(&tiles, 256u, false, 16u);
  var first: subgroup_matrix_result<f32, 16, 16>;
  var second: subgroup_matrix_result<f32, 16, 16>;
  var third: subgroup_matrix_result<f32, 16, 16>;
  var fourth: subgroup_matrix_result<f32, 16, 16>;
  for (var round = 0u; round < ROUNDS; round++) {
    first = subgroupMatrixMultiplyAccumulate(a, b, first);
    second = subgroupMatrixMultiplyAccumulate(a, b, second);
    third = subgroupMatrixMultiplyAccumulate(a, b, third);
    fourth = subgroupMatrixMultiplyAccumulate(a, b, fourth);
  }
  let at = group.x * 1024u;
  subgroupMatrixStore(&out, at, first, false, 16u);
  subgroupMatrixStore(&out, at + 256u, second, false, 16u);
  subgroupMatrixStore(&out, at + 512u, third, false, 16u);
  subgroupMatrixStore(&out, at + 768u, fourth, false, 16u);
}
