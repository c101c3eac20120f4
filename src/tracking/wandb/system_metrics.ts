/** What the machine does while a run is on, under W&B's names of system metrics. */
import { availableParallelism, freemem, totalmem } from "node:os";
import process from "node:process";
import type { Values } from "./records.ts";

/** Measures since the last call, or since this one was made. */
export function systemMonitor(gpuBytes: () => number): () => Values {
  let cpu = process.cpuUsage();
  let at = performance.now();
  return () => {
    const used = process.cpuUsage(cpu);
    const seconds = (performance.now() - at) / 1000;
    [cpu, at] = [process.cpuUsage(), performance.now()];
    const { rss } = process.memoryUsage();
    const share = seconds > 0 ? (used.user + used.system) / 1e6 / seconds : 0;
    return {
      "system.cpu": 100 * share / availableParallelism(),
      "system.proc.memory.rssMB": rss / 2 ** 20,
      "system.proc.memory.percent": 100 * rss / totalmem(),
      "system.proc.memory.availableMB": freemem() / 2 ** 20,
      "system.gpu.process.0.memoryAllocatedBytes": gpuBytes(),
    };
  };
}
