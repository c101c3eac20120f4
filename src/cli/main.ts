/** The program: `main.ts <task> [arguments]`. */
import { closeGpu } from "../gpu/device.ts";

const TASKS: Record<string, () => Promise<(args: string[]) => Promise<number>>> = {
  train: async () => (await import("./train.ts")).trainCommand,
  eval: async () => (await import("./eval.ts")).evalCommand,
  scorer: async () => (await import("./scorer.ts")).scorerCommand,
  report: async () => (await import("./report.ts")).reportCommand,
  doctor: async () => (await import("./doctor/doctor.ts")).doctorCommand,
  bench: async () => (await import("../../bench/run.ts")).benchCommand,
  mutants: async () => (await import("../../test/mutants/run.ts")).mutantsCommand,
  parity: async () => (await import("../../test/parity/run.ts")).parityCommand,
};

/** Errors of a known class speak to the user; their stack is for whoever asks with GRPO_DEBUG=1. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env.GRPO_DEBUG ? error.stack ?? error.message : error.message;
}

const [task = "", ...args] = process.argv.slice(2);
try {
  const load = TASKS[task];
  if (!load) throw new RangeError(`Unknown task "${task}"; tasks: ${Object.keys(TASKS).join(", ")}`);
  process.exitCode = await (await load())(args);
} catch (error) {
  process.stderr.write(`${explain(error)}\n`);
  process.exitCode = 1;
} finally {
  await closeGpu();
}
// Dawn's objects keep Node's event loop alive; everything is written and closed by now.
process.exit();
