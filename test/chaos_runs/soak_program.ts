/**
 * Trains a tiny policy for as many steps as asked, with checkpoints and evaluations, and prints what the process holds
 * after each step: a line of JSON. soak_program.ts FOLDER STEPS
 */
import { readdirSync } from "node:fs";
import process from "node:process";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { evaluation, tinyRun } from "../gpu/tiny_run.ts";
import type { Held } from "./soak.test.ts";

const [folder, steps] = process.argv.slice(2);
const { memory } = await openGpu();
const collect = (globalThis as { gc?: () => void }).gc;
if (!collect) throw new Error("Needs --expose-gc: garbage is no growth");

let before = process.cpuUsage();
const held: Held[] = [];
const { error } = await tinyRun(folder, {
  settings: {
    max_steps: Number(steps),
    learning_rate: 1e-6, // what it says stays as long
    lr_scheduler_type: "constant",
    save_steps: 20,
    save_total_limit: 2,
    eval_every: 10,
    scatter_every: 10,
  },
  evaluate: evaluation,
  onStep() {
    const { user, system } = process.cpuUsage(before);
    collect();
    held.push({
      rssBytes: process.memoryUsage().rss,
      heapBytes: process.memoryUsage().heapUsed,
      gpuBytes: memory().liveBytes,
      openFiles: readdirSync("/proc/self/fd").length,
      timers: process.getActiveResourcesInfo?.().filter((name) => name === "Timeout").length ?? 0,
      cpuMs: (user + system) / 1000,
    });
    before = process.cpuUsage();
  },
});
if (error) throw error;
process.stdout.write(`\n${JSON.stringify(held)}\n`);
await closeGpu();
process.exit();
