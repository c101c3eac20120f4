/** The kernel for matrix units, with the lanes of a subgroup in their place: what it stages, multiplies and stores is run. */
import type { Tensor } from "@tensorflow/tfjs";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { flush } from "../../src/gpu/bridge.ts";
import { kernelSource } from "../../src/gpu/kernel.ts";

/** Matrices of 16x16 in workgroup memory, four sums for each of four subgroups; a loaded matrix is its offset. */
const EMULATION = `
var<workgroup> emulated: array<f32, 16 * 256>;
fn emulatedMultiply(left: u32, right: u32, sum: u32, member: u32) {
  for (var at = member; at < 256u; at += SUBGROUP) {
    for (var k = 0u; k < 16u; k++) {
      let x = xSlab[left + at / 16u * LINE + k / 4u][k % 4u];
      let w = wSlab[right + at % 16u * LINE + k / 4u][k % 4u];
      emulated[sum * 256u + at] += f32(x) * f32(w);
    }
  }
}
fn emulatedStore(offset: u32, sum: u32, member: u32) {
  for (var at = member; at < 256u; at += SUBGROUP) { made[offset + at] = emulated[sum * 256u + at]; }
}

@compute`;

const REPLACEMENTS: [pattern: RegExp, replacement: string][] = [
  [/enable subgroups;\nenable chromium_experimental_subgroup_matrix;\n/, ""],
  [/ {2}@builtin\(subgroup_id\) subgroup: u32,\n {2}@builtin\(subgroup_invocation_id\) member: u32,\n/, ""],
  [/@compute/, EMULATION],
  [/(fn main[^{]*\{\n)/, "$1  let subgroup = lane / SUBGROUP;\n  let member = lane % SUBGROUP;\n"],
  [/ {2}var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;\n/, ""],
  [/subgroupMatrixLoad<subgroup_matrix_\w+<f16, 16, 16>, \w+>\(&[xw]Slab, (.*), LINE\);/g, "$1;"],
  [
    /sums\[(.*)\] = subgroupMatrixMultiplyAccumulate\((\w+), (\w+), sums\[\1\]\);/g,
    "emulatedMultiply($2, $3, subgroup * 4u + $1, member);",
  ],
  [
    /subgroupMatrixStore<row_major>\(&made, (.*), sums\[(.*)\], 16u\);/,
    "emulatedStore($1, subgroup * 4u + $2, member);",
  ],
];

/** The kernel's text without matrix units. @throws Error when the kernel no longer looks as this file expects */
function emulatedSource(): string {
  return REPLACEMENTS.reduce((code, [pattern, replacement]) => {
    const replaced = code.replace(pattern, replacement);
    if (replaced === code) throw new Error(`matmul_nt_matrix.wgsl has nothing like ${pattern}`);
    return replaced;
  }, kernelSource("matmul_nt_matrix"));
}

/** Runs matmul_nt_matrix with f32 weights, bias and residual. @param tensors x, w, bias, y, the shifts of x and w, residual */
export function runEmulatedMatrices(
  tensors: Tensor[],
  { M, K, N, stride }: Record<"M" | "K" | "N" | "stride", number>,
): void {
  flush();
  const { device, queue, tensorMap } = tfjsBackend();
  const module = device.createShaderModule({ code: emulatedSource() });
  const constants = { SUBGROUP: 8, BIAS: 1, RESIDUAL: 1 };
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module, constants } });
  const params = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  queue.writeBuffer(params, 0, Uint32Array.of(M, K, N, stride));
  const buffers = [...tensors.map(({ dataId }) => tensorMap.get(dataId).resource!), params];
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(Math.ceil(N / 64), Math.ceil(M / 64));
  pass.end();
  queue.submit([encoder.finish()]);
}
