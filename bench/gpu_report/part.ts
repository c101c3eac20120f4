/**
 * One part of a GPU report, in a process of its own: what it measures it prints, a line of JSON each.
 *
 *   node --import tsx bench/gpu_report/part.ts PART [--small]
 */
import { closeGpu } from "../../src/gpu/device.ts";
import { messageOf } from "../../src/io/files/errors.ts";
import type { PartContext, ReportLine } from "./report_line.ts";

type RunPart = (context: PartContext) => Promise<void>;

const RUNS: Readonly<Record<string, () => Promise<RunPart>>> = {
  device: async () => (await import("./device_part.ts")).reportDevice,
  ceilings: async () => (await import("./ceilings_part.ts")).reportCeilings,
  correctness: async () => (await import("./correctness_part.ts")).reportCorrectness,
  dispatches: async () => (await import("./dispatches_part.ts")).reportDispatches,
  products: async () => (await import("./products_part.ts")).reportProducts,
  attention: async () => (await import("./attention_part.ts")).reportAttention,
  rows: async () => (await import("./rows_part.ts")).reportRows,
  job: async () => (await import("./job_part.ts")).reportJob,
};

const [name, ...flags] = process.argv.slice(2);
const say = (line: ReportLine) => void process.stdout.write(`${JSON.stringify(line)}\n`);
let code = 0;
try {
  const run = await RUNS[name]();
  await run({ isSmall: flags.includes("--small"), say });
} catch (error) {
  say({ kind: "left out", name: `the rest of ${name}`, reason: messageOf(error).split("\n")[0] });
  code = 1;
}
await closeGpu();
process.exit(code);
