/**
 * Loads a checkpoint as the trainer does and says how fast, and how much memory the process took beside the GPU's
 * buffers. Without a folder it writes a random one first: a Llama of about a billion parameters, 2 GB of bf16 in four
 * shards.
 *
 *   node --import tsx bench/load.ts [FOLDER]          (about a minute on two cores, and 2 GB of disk)
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { settle } from "../src/gpu/queue.ts";
import { closeGpu, openGpu } from "../src/gpu/device.ts";
import { openModelFolder } from "../src/io/model/model_folder.ts";
import { parseModelConfig } from "../src/policy/model_config.ts";
import { loadPolicyWeights } from "../src/policy/weights.ts";
import { runFile } from "./program.ts";
import { writeRandomLlama } from "./random_llama.ts";

/** Of about a billion parameters. */
const SHAPE = { hidden: 2048, intermediate: 5632, layers: 20, heads: 32, kvHeads: 4, vocab: 32000 };

/** Peak resident memory of this process in bytes, as Linux counts it. */
function peakResidentBytes(): number {
  return Number(readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s+(\d+) kB/)![1]) * 1024;
}

/** Forgets the peak so far. */
function resetPeakResident(): void {
  writeFileSync("/proc/self/clear_refs", "5");
}

async function measure(dir: string): Promise<void> {
  const { info, memory } = await openGpu();
  let bytes = 0;
  const folder = await openModelFolder(dir, { onBytes: (count) => bytes += count });
  const config = parseModelConfig(folder.configText, folder.configPath);
  resetPeakResident();
  const began = performance.now();
  await loadPolicyWeights(folder.source, config, "frozen");
  await settle();
  const seconds = (performance.now() - began) / 1000;
  await folder.close();
  const gigabytes = (count: number) => (count / 1e9).toFixed(2);
  const resident = peakResidentBytes();
  console.log(
    `${info.runtime}, ${info.name}: ${gigabytes(bytes)} GB in ${seconds.toFixed(1)} s, ` +
      `${(bytes / 1e9 / seconds).toFixed(2)} GB/s; GPU buffers ${gigabytes(memory().peakBytes)} GB, ` +
      `peak resident ${gigabytes(resident)} GB: ${gigabytes(resident - memory().peakBytes)} GB beside them`,
  );
  await closeGpu();
}

const given = process.argv[2];
let exitCode = 0;
if (given) await measure(given);
else {
  const dir = mkdtempSync(join(tmpdir(), "grpo-load-"));
  try {
    await writeRandomLlama(dir, SHAPE, 4);
    // The writing is another process's memory: this one would count it.
    exitCode = runFile("bench/load.ts", [dir]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}
process.exit(exitCode);
