/** Where the GPU's time goes, by kernel: every dispatch in a pass of its own, with a timestamp before and after it. */
import { type DispatchLabel, modes, tfjsBackend } from "./backend.ts";
import { settle } from "./queue.ts";
import { readTimestamps } from "./timing.ts";

export interface KernelProfile {
  /** File name in kernels/ without .wgsl; "tfjs <program>" for a stock op of tfjs. */
  kernel: string;
  calls: number;
  /** Of all calls, by the GPU's clock. */
  seconds: number;
  /** Bytes of the bindings of all calls; 0 for a stock op, which does not say. */
  boundBytes: number;
}

/** WebGPU allows 4096 timestamps in a query set. */
const PASSES_PER_SET = 2048;

/** Passes so far, and the query sets that hold their times. */
interface TimedPasses {
  labels: DispatchLabel[];
  querySets: GPUQuerySet[];
}

function beginTimedPass(
  device: GPUDevice,
  { labels, querySets }: TimedPasses,
  encoder: GPUCommandEncoder,
  label: DispatchLabel,
): GPUComputePassEncoder {
  const place = labels.length % PASSES_PER_SET;
  if (place === 0) querySets.push(device.createQuerySet({ type: "timestamp", count: 2 * PASSES_PER_SET }));
  labels.push(label);
  return encoder.beginComputePass({
    timestampWrites: {
      querySet: querySets[querySets.length - 1],
      beginningOfPassWriteIndex: 2 * place,
      endOfPassWriteIndex: 2 * place + 1,
    },
  });
}

async function sumByKernel(device: GPUDevice, { labels, querySets }: TimedPasses): Promise<KernelProfile[]> {
  const byKernel = new Map<string, KernelProfile>();
  for (const [s, querySet] of querySets.entries()) {
    const own = labels.slice(s * PASSES_PER_SET, (s + 1) * PASSES_PER_SET);
    const times = await readTimestamps(device, querySet, 2 * own.length);
    own.forEach(({ kernel, boundBytes }, i) => {
      const sum = byKernel.get(kernel) ?? { kernel, calls: 0, seconds: 0, boundBytes: 0 };
      sum.calls++;
      sum.seconds += Number(times[2 * i + 1] - times[2 * i]) * 1e-9;
      sum.boundBytes += boundBytes;
      byKernel.set(kernel, sum);
    });
  }
  return [...byKernel.values()].sort((a, b) => b.seconds - a.seconds);
}

/**
 * Runs `body` and says what its kernels took, the longest first. Passes of their own cost a little each, so the sum is
 * somewhat more than the GPU takes unwatched; copies between buffers are not counted.
 * @throws Error when the device has no timestamps
 */
export async function profileKernels(body: () => unknown): Promise<KernelProfile[]> {
  const backend = tfjsBackend();
  const { device } = backend;
  if (!device.features.has("timestamp-query")) {
    throw new Error(
      "Cannot profile kernels: need the feature timestamp-query, which this device does not have",
    );
  }
  const passes: TimedPasses = { labels: [], querySets: [] };
  const beginPass = (encoder: GPUCommandEncoder, label: DispatchLabel) =>
    beginTimedPass(device, passes, encoder, label);
  const stockPath = backend.recordAndSubmit;
  backend.recordAndSubmit = (program, ...rest) => {
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    const kernel = `tfjs ${(program as object).constructor.name}`;
    backend.computePassEncoder = beginPass(backend.commandEncoder!, { kernel, boundBytes: 0 });
    stockPath.call(backend, program, ...rest);
    backend.endComputePassEncoder();
  };
  await settle();
  modes.profiling = { beginPass };
  try {
    await body();
    await settle();
  } finally {
    modes.profiling = null;
    backend.recordAndSubmit = stockPath;
  }
  return await sumByKernel(device, passes);
}
