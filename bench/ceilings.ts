/** What this device can do at most, measured: the figures that an op's speed is a share of. */
import { readFileSync } from "node:fs";
import { foldGrid } from "../src/gpu/grids.ts";
import type { KernelConstants } from "../src/gpu/kernel.ts";
import type { Plan } from "../src/gpu/plan.ts";
import { f16MatrixUnit, type MatrixUnit } from "../src/gpu/precision.ts";
import { timePlan } from "../src/gpu/timing.ts";
import { packWords } from "../src/ops/weight/pack.ts";
import { randomFloats } from "../test/cases/case.ts";
import { measure } from "./measure.ts";
import { threeDigits } from "./table.ts";

export interface Ceilings {
  /** Read plus written by a vec4 copy, 1e9 bytes a second. */
  copyGBps: number;
  /** f32 fused multiply-adds in registers, two operations each, 1e9 a second. */
  fmaGflops: number;
  /** f16 tensor-core multiply-adds summed in f32, 1e9 operations a second; null where the device has none that fit. */
  matrixGflops: number | null;
}

/** "copy 5 GB/s read + written, FMA 60 GFLOP/s f32", and the tensor cores where there are any. */
export function ceilingsText({ copyGBps, fmaGflops, matrixGflops }: Ceilings): string {
  const known = `copy ${threeDigits(copyGBps)} GB/s read + written, FMA ${
    threeDigits(fmaGflops)
  } GFLOP/s f32`;
  if (matrixGflops === null) return known;
  return `${known}, subgroup matrix ${threeDigits(matrixGflops)} GFLOP/s f16 into f32`;
}

const KERNEL_FOLDER = new URL("kernels/", import.meta.url);
const WG = 64;
const FMA_ROUNDS = 256;
const FMA_LANES = 1 << 17;
const FLOPS_PER_ROUND = 8 * 4 * 2; // chains * links * (multiply + add), as in kernels/fma.wgsl
const MATRIX_WORKGROUPS = 1 << 13;
const MATRIX_ROUNDS = 256;
const CHAINS = 4;
/** How a copy is cut into workgroups: GPUs like many, and a CPU few that are long. The fastest is the ceiling. */
const COPY_SHAPES = [{ WG: 64, SPAN: 64 }, { WG: 64, SPAN: 256 }, { WG: 8, SPAN: 256 }];
/** More than the last-level cache of the devices of 2025, where a binding may be so large. */
const COPY_BYTES = 256 * 2 ** 20;
const MEASURE = { repeats: 5, sampleSeconds: 0.02, budgetSeconds: 3 };

/** @param unit what UNIT stands for in the text */
function pipelineOf(
  device: GPUDevice,
  name: string,
  constants: KernelConstants,
  unit?: MatrixUnit,
): GPUComputePipeline {
  const text = readFileSync(new URL(`${name}.wgsl`, KERNEL_FOLDER), "utf8");
  const module = device.createShaderModule({ label: name, code: text.replaceAll("UNIT", String(unit)) });
  return device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
}

type TimedKernel = Pick<Plan, "replay" | "dispose">;

/** One kernel over two buffers, as a plan, so that timePlan times it like an op. */
function planOf(
  device: GPUDevice,
  pipeline: GPUComputePipeline,
  buffers: GPUBuffer[],
  workgroups: [number, number, number],
): TimedKernel {
  const layout = pipeline.getBindGroupLayout(0);
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const bindGroup = device.createBindGroup({ layout, entries });
  return {
    replay(times = 1, timestampWrites) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(...workgroups);
      pass.end();
      device.queue.submit([encoder.finish()]);
    },
    dispose: () => buffers.forEach((buffer) => buffer.destroy()),
  };
}

/** Seconds of one replay at its fastest, since a ceiling is what the device can do at most; frees the plan. */
async function secondsOf(plan: TimedKernel): Promise<number> {
  try {
    const work = async (times: number) => (await timePlan(plan, times)).seconds;
    return (await measure(work, MEASURE)).fastestSeconds;
  } finally {
    plan.dispose();
  }
}

/** Matrices that kernels/subgroup_matrix.wgsl multiplies here; undefined where there are none of f16 into f32. */
function matrixUnitOf({ features, adapterInfo }: GPUDevice): MatrixUnit | undefined {
  const needed = ["chromium-experimental-subgroup-matrix", "shader-f16"] as GPUFeatureName[];
  return needed.every((name) => features.has(name)) ? f16MatrixUnit(adapterInfo) : undefined;
}

async function measureMatrix(device: GPUDevice): Promise<number | null> {
  const unit = matrixUnitOf(device);
  if (unit === undefined) return null;
  const { STORAGE, COPY_DST } = GPUBufferUsage;
  const values = new Uint8Array(packWords(randomFloats(11, 2 * unit * unit), "f16").buffer);
  const tiles = device.createBuffer({ size: values.byteLength, usage: STORAGE | COPY_DST });
  device.queue.writeBuffer(tiles, 0, values);
  const out = device.createBuffer({ size: MATRIX_WORKGROUPS * CHAINS * unit * unit * 4, usage: STORAGE });
  const constants = { WG: device.adapterInfo.subgroupMaxSize, ROUNDS: MATRIX_ROUNDS };
  const pipeline = pipelineOf(device, "subgroup_matrix", constants, unit);
  const seconds = await secondsOf(planOf(device, pipeline, [tiles, out], [MATRIX_WORKGROUPS, 1, 1]));
  return MATRIX_WORKGROUPS * MATRIX_ROUNDS * CHAINS * 2 * unit ** 3 / seconds / 1e9;
}

/** Bytes read plus written a second by the fastest copy, 1e9. */
async function measureCopy(device: GPUDevice, storage: (sizeBytes: number) => GPUBuffer): Promise<number> {
  const { maxStorageBufferBindingSize, maxBufferSize } = device.limits;
  const largest = Math.min(COPY_BYTES, maxStorageBufferBindingSize, maxBufferSize);
  const sizeBytes = largest - largest % (16 * 256);
  let fastest = Infinity;
  for (const shape of COPY_SHAPES) {
    const pipeline = pipelineOf(device, "copy", shape);
    const grid = foldGrid(Math.ceil(sizeBytes / (16 * shape.SPAN)));
    const seconds = await secondsOf(
      planOf(device, pipeline, [storage(sizeBytes), storage(sizeBytes)], grid),
    );
    fastest = Math.min(fastest, seconds);
  }
  return 2 * sizeBytes / fastest / 1e9;
}

/** Measures the ceilings of the device. Takes about a second, or a few on a CPU. */
export async function measureCeilings(device: GPUDevice): Promise<Ceilings> {
  const storage = (sizeBytes: number) =>
    device.createBuffer({ size: sizeBytes, usage: GPUBufferUsage.STORAGE });
  const copyGBps = await measureCopy(device, storage);

  const pipeline = pipelineOf(device, "fma", { WG, ROUNDS: FMA_ROUNDS });
  const fma = planOf(device, pipeline, [storage(4), storage(FMA_LANES * 4)], [FMA_LANES / WG, 1, 1]);
  const fmaSeconds = await secondsOf(fma);

  return {
    copyGBps,
    fmaGflops: FLOPS_PER_ROUND * FMA_ROUNDS * FMA_LANES / fmaSeconds / 1e9,
    matrixGflops: await measureMatrix(device),
  };
}
