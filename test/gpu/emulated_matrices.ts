/** The kernels for matrix units, with lanes in their place: what they stage, multiply and store is run. */
import type { Tensor } from "@tensorflow/tfjs";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { flush } from "../../src/gpu/queue.ts";
import { type Conditions, type LinkedKernel, linkKernel } from "../../src/gpu/wgsl.ts";

const LOADS =
  /subgroupMatrixLoad<subgroup_matrix_(left|right)<f16, 16, 16>, (row|col)_major>\(&(\w+), (.*), (\w+)\);/g;

/** What reads the value in row r and column c of the left or right matrices that a kernel loads. */
function readerOf(code: string, wanted: "left" | "right"): string {
  const [, , order, slab, , line] = [...code.matchAll(LOADS)].find(([, side]) => side === wanted)!;
  const [major, minor] = order === "row" ? ["r", "c"] : ["c", "r"];
  return `fn ${wanted}Value(offset: u32, r: u32, c: u32) -> f32 {
  return f32(${slab}[offset + ${major} * ${line} + ${minor} / 4u][${minor} % 4u]);
}
`;
}

/** Matrices of 16x16 in workgroup memory, four sums for each of four subgroups; a loaded matrix is its offset. */
const EMULATION = `
var<workgroup> emulated: array<f32, 16 * 256>;
fn emulatedMultiply(left: u32, right: u32, sum: u32, member: u32) {
  for (var at = member; at < 256u; at += SUBGROUP) {
    for (var k = 0u; k < 16u; k++) {
      emulated[sum * 256u + at] += leftValue(left, at / 16u, k) * rightValue(right, k, at % 16u);
    }
  }
}
fn emulatedStore(offset: u32, sum: u32, member: u32) {
  for (var at = member; at < 256u; at += SUBGROUP) { made[offset + at] = emulated[sum * 256u + at]; }
}

@compute`;

const REPLACEMENTS: [pattern: RegExp, replacement: string][] = [
  [/enable subgroups;\nenable chromium_experimental_subgroup_matrix;/, ""],
  [/, @builtin\(subgroup_id\) subgroup: u32, @builtin\(subgroup_invocation_id\) member: u32/, ""],
  [/@compute/, EMULATION],
  [/(fn main[^{]*\{\n)/, "$1  let subgroup = lane / SUBGROUP;\n  let member = lane % SUBGROUP;\n"],
  [/ {2}var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;\n/, ""],
  [LOADS, "$4;"],
  [
    /sums\[(.*)\] = subgroupMatrixMultiplyAccumulate\((\w+), (\w+), sums\[\1\]\);/g,
    "emulatedMultiply($2, $3, subgroup * 4u + $1, member);",
  ],
  [
    /subgroupMatrixStore<row_major>\(&made, (.*), sums\[(.*)\], 16u\);/,
    "emulatedStore($1, subgroup * 4u + $2, member);",
  ],
  // Bounds that a CPU's compiler does not know, so that it does not take a minute to unroll the loops.
  [/(for \(var \w+ = \w+; \w+ < [^;]+);/g, "$1 + (params.rows >> 31u);"],
];

/** A linked text without matrix units. @throws Error when it no longer looks as this file expects */
function emulatedSource({ file, text: code }: LinkedKernel): string {
  const readers = readerOf(code, "left") + readerOf(code, "right");
  return REPLACEMENTS.reduce((text, [pattern, replacement]) => {
    const replaced = text.replace(pattern, replacement);
    if (replaced === text) throw new Error(`${file} has nothing like ${pattern}`);
    return replaced;
  }, code).replace("@compute", `${readers}\n@compute`);
}

interface EmulatedCall {
  kernel: string;
  conditions: Conditions;
  /** By the names of the kernel's text. */
  bindings: Record<string, Tensor>;
  /** rows, width, columns, stride */
  params: number[];
  /** columns x rows of tiles */
  workgroups: [number, number];
}

/** Runs a kernel for matrix units on a device that has f16, with numbers in f32. */
export function runEmulatedMatrices(
  { kernel, conditions, bindings, params, workgroups }: EmulatedCall,
): void {
  flush();
  const { device, queue, tensorMap } = tfjsBackend();
  const linked = linkKernel(kernel, conditions);
  const module = device.createShaderModule({ code: emulatedSource(linked) });
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module, constants: { SUBGROUP: 64 } },
  });
  const uniform = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  queue.writeBuffer(uniform, 0, Uint32Array.from(params));
  const entries = linked.storage.map(({ name, binding }) => ({
    binding,
    resource: { buffer: tensorMap.get(bindings[name].dataId).resource! },
  }));
  entries.push({ binding: linked.params!.binding, resource: { buffer: uniform } });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...workgroups);
  pass.end();
  queue.submit([encoder.finish()]);
  for (const { dataId } of Object.values(bindings)) tensorMap.get(dataId).values = null;
}
