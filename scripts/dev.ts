/** The developers' program: `dev.ts <task> [arguments]`. Its tasks lie outside src/, which stands alone. */
import { runProgram } from "../src/cli/program.ts";

await runProgram({
  bench: async () => (await import("../bench/run.ts")).benchCommand,
  chaos: async () => (await import("../test/chaos_runs/run.ts")).chaosCommand,
  "gpu-report": async () => (await import("../bench/gpu_report/command.ts")).gpuReportCommand,
  mutants: async () => (await import("../test/mutants/run.ts")).mutantsCommand,
  parity: async () => (await import("../test/parity/run.ts")).parityCommand,
  "test:browser": async () => (await import("../test/browser/run.ts")).browserCommand,
  "test:cluster": async () => (await import("../test/cluster/run.ts")).clusterCommand,
  "test:gpu-variants": async () => (await import("../test/gpu_variants/run.ts")).gpuVariantsCommand,
});
