// subgroup_matrix: tensor-core multiply-adds in registers; the most f16 FLOP per second, summed in f32, of this device.
//   4 independent chains acc = A B + acc of matrices of UNIT x UNIT x UNIT: 4 * 2 * UNIT^3 * ROUNDS FLOP a subgroup
//   UNIT stands for 16 or 8, which must be a literal: bench/ceilings.ts puts it in
// Shapes    tiles f16 [2*UNIT^2], A then B; out f32 [workgroups*4*UNIT^2], every chain's end, so that none can be left
//           out
// Dispatch  one subgroup a workgroup, WG lanes being the device's largest subgroup: (workgroups,1,1)
// Numerics  four chains cover the latency of a tensor core; A and B are random, since zeros take less power
// Twin      none: its value is of no use     Run by bench/ceilings.ts#measureCeilings
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
override WG: u32 = 32u;
override ROUNDS: u32 = 256u;

@group(0) @binding(0) var<storage, read> tiles: array<f16>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

const SIZE = UNITu * UNITu;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u) {
  let a = subgroupMatrixLoad<subgroup_matrix_left<f16, UNIT, UNIT>, row_major>(&tiles, 0u, UNITu);
  let b = subgroupMatrixLoad<subgroup_matrix_right<f16, UNIT, UNIT>, row_major>(&tiles, SIZE, UNITu);
  var first: subgroup_matrix_result<f32, UNIT, UNIT>;
  var second: subgroup_matrix_result<f32, UNIT, UNIT>;
  var third: subgroup_matrix_result<f32, UNIT, UNIT>;
  var fourth: subgroup_matrix_result<f32, UNIT, UNIT>;
  for (var round = 0u; round < ROUNDS; round++) {
    first = subgroupMatrixMultiplyAccumulate(a, b, first);
    second = subgroupMatrixMultiplyAccumulate(a, b, second);
    third = subgroupMatrixMultiplyAccumulate(a, b, third);
    fourth = subgroupMatrixMultiplyAccumulate(a, b, fourth);
  }
  let at = group.x * 4u * SIZE;
  subgroupMatrixStore<row_major>(&out, at, first, UNITu);
  subgroupMatrixStore<row_major>(&out, at + SIZE, second, UNITu);
  subgroupMatrixStore<row_major>(&out, at + 2u * SIZE, third, UNITu);
  subgroupMatrixStore<row_major>(&out, at + 3u * SIZE, fourth, UNITu);
}
