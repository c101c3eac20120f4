/** The kernel for matrix units, with lanes in their place: what it stages, multiplies and stores is run. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { flush } from "../../src/gpu/queue.ts";
import { type Conditions, type LinkedKernel, linkKernel } from "../../src/gpu/wgsl.ts";

/** Lanes of what plays a subgroup. */
const SUBGROUP = 32;

/** Operands are where they lie, in f16 values; of sums a lane holds every 32nd quad of neighbours. */
const EMULATION = `
struct Matrix { at: u32, row: u32, column: u32 }
var<private> member_number: u32;
fn row_major(at: u32, line: u32) -> Matrix { return Matrix(8u * at, 8u * line, 1u); }
fn col_major(at: u32, line: u32) -> Matrix { return Matrix(8u * at, 1u, 8u * line); }
fn value_at(matrix: Matrix, row: u32, column: u32) -> f32 {
  let i = matrix.at + row * matrix.row + column * matrix.column;
  return unpack2x16float(slabs[i / 8u][i / 2u % 4u])[i % 2u];
}
fn multiply_accumulate(left: Matrix, right: Matrix, sum: Result) -> Result {
  var made = sum;
  for (var i = 0u; i < 2u + (params.rows >> 31u); i++) {
    let quad = member_number + i * ${SUBGROUP}u;
    if (quad >= UNIT * UNIT / 4u) { break; }
    let row = quad * 4u / UNIT;
    let column = quad * 4u % UNIT;
    for (var k = 0u; k < UNIT + (params.rows >> 31u); k++) {
      let other = vec4f(value_at(right, k, column), value_at(right, k, column + 1u),
        value_at(right, k, column + 2u), value_at(right, k, column + 3u));
      made[i] += value_at(left, row, k) * other;
    }
  }
  return made;
}
fn store_result(at: u32, sum: Result, line: u32) {
  var made = sum;
  for (var i = 0u; i < 2u; i++) {
    let quad = member_number + i * ${SUBGROUP}u;
    if (quad >= UNIT * UNIT / 4u) { break; }
    slabs[at + quad * 4u / UNIT * line + quad % (UNIT / 4u)] = bitcast<vec4u>(made[i]);
  }
}
`;

const REPLACEMENTS: [pattern: RegExp, replacement: string][] = [
  [/enable \w+;\s*/g, ""],
  [/alias (Left|Right) = subgroup_matrix_\w+<f16, \d+, \d+>;/g, "alias $1 = Matrix;"],
  [/alias Result = subgroup_matrix_result<f32, \d+, \d+>;/, "alias Result = array<vec4f, 2>;"],
  [/, @builtin\(subgroup_id\) subgroup: u32, @builtin\(subgroup_invocation_id\) member: u32/, ""],
  [
    /(fn main[^{]*\{\n)/,
    "$1  let subgroup = lane / SUBGROUP;\n  let member = lane % SUBGROUP;\n  member_number = member;\n",
  ],
  [/subgroupMatrixLoad<\w+, (row|col)_major>\(&slabs, /g, "$1_major("],
  [/subgroupMatrixMultiplyAccumulate/g, "multiply_accumulate"],
  [/subgroupMatrixStore<row_major>\(&slabs, /g, "store_result("],
  // Bounds that a CPU's compiler does not know, so that it does not take a minute to unroll the loops.
  [/(for \(var \w+ = \w+; \w+ < [^;]+);/g, "$1 + (params.rows >> 31u);"],
];

/** A linked text without matrix units. @throws Error when it no longer looks as this file expects */
function emulatedSource({ file, text: code }: LinkedKernel): string {
  return REPLACEMENTS.reduce((text, [pattern, replacement]) => {
    const replaced = text.replace(pattern, replacement);
    if (replaced === text) throw new Error(`${file} has nothing like ${pattern}`);
    return replaced;
  }, code) + EMULATION;
}

interface EmulatedCall {
  kernel: string;
  conditions: Conditions;
  constants: Readonly<Record<string, number>>;
  /** By the names of the kernel's text. */
  bindings: Record<string, TensorInfo>;
  /** rows, width, columns, stride */
  params: number[];
  /** columns x rows of tiles */
  workgroups: [number, number];
}

const pipelines = new Map<string, GPUComputePipeline>();

/** Compiled once: a CPU's compiler takes seconds. */
function emulatedPipeline(linked: LinkedKernel, constants: EmulatedCall["constants"]): GPUComputePipeline {
  const key = JSON.stringify([linked.text, constants]);
  let pipeline = pipelines.get(key);
  if (!pipeline) {
    const { device } = tfjsBackend();
    const module = device.createShaderModule({ code: emulatedSource(linked) });
    const compute = { module, constants: { SUBGROUP, ...constants } };
    pipelines.set(key, pipeline = device.createComputePipeline({ layout: "auto", compute }));
  }
  return pipeline;
}

/** Runs a kernel for matrix units on any device, with sums in f32. */
export function runEmulatedMatrices(
  { kernel, conditions, constants, bindings, params, workgroups }: EmulatedCall,
): void {
  flush();
  const { device, queue, tensorMap } = tfjsBackend();
  const linked = linkKernel(kernel, conditions);
  const pipeline = emulatedPipeline(linked, constants);
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
