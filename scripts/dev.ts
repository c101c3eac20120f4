/** The developers' program: `dev.ts <task> [arguments]`. Its tasks lie outside src/, which stands alone. */
import { runProgram } from "../src/cli/program.ts";

await runProgram({
  bench: async () => (await import("../bench/run.ts")).benchCommand,
  mutants: async () => (await import("../test/mutants/run.ts")).mutantsCommand,
  parity: async () => (await import("../test/parity/run.ts")).parityCommand,
});
