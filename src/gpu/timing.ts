/** Time that the GPU itself took, by timestamp queries where the device has them, else by the wall clock. */
import { tfjsBackend } from "./backend.ts";
import { awaitGpu } from "./device.ts";
import { assertGpuHealthy } from "./failure.ts";
import type { Plan } from "./plan.ts";

export interface GpuTime {
  /** Seconds for all replays together. */
  seconds: number;
  source: "gpu timestamps" | "wall clock";
}

/**
 * The first `count` timestamps of a query set, in nanoseconds, once what writes them has run; frees the set.
 * @throws Error when the device has failed: the times would be zeros
 */
export async function readTimestamps(
  device: GPUDevice,
  querySet: GPUQuerySet,
  count: number,
): Promise<BigUint64Array> {
  const size = 8 * count;
  const resolved = device.createBuffer({
    size,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const readable = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readable, 0, size);
  device.queue.submit([encoder.finish()]);
  await awaitGpu(readable.mapAsync(GPUMapMode.READ));
  assertGpuHealthy();
  const times = new BigUint64Array(readable.getMappedRange().slice(0));
  for (const resource of [querySet, resolved, readable]) resource.destroy();
  return times;
}

async function timeByTimestamps(
  device: GPUDevice,
  plan: Pick<Plan, "replay">,
  times: number,
): Promise<number> {
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
  plan.replay(times, { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 });
  const [begin, end] = await readTimestamps(device, querySet, 2);
  return Number(end - begin) * 1e-9;
}

/** Replays the plan `times` times and returns how long the GPU was busy with it. */
export async function timePlan(plan: Pick<Plan, "replay">, times: number): Promise<GpuTime> {
  const { device } = tfjsBackend();
  if (device.features.has("timestamp-query")) {
    const seconds = await timeByTimestamps(device, plan, times);
    if (seconds > 0) return { seconds, source: "gpu timestamps" };
  }
  await awaitGpu(device.queue.onSubmittedWorkDone());
  const begin = performance.now();
  plan.replay(times);
  await awaitGpu(device.queue.onSubmittedWorkDone());
  return { seconds: (performance.now() - begin) / 1000, source: "wall clock" };
}
