/** The program: `main.ts <task> [arguments]`. */
import { runProgram } from "./program.ts";

await runProgram({
  train: async () => (await import("./train.ts")).trainCommand,
  eval: async () => (await import("./eval.ts")).evalCommand,
  scorer: async () => (await import("./scorer.ts")).scorerCommand,
  data: async () => (await import("./data.ts")).dataCommand,
  report: async () => (await import("./report.ts")).reportCommand,
  rollouts: async () => (await import("./rollouts.ts")).rolloutsCommand,
  "es-replay": async () => (await import("./es_replay.ts")).esReplayCommand,
  judge: async () => (await import("./judge.ts")).judgeCommand,
  slurm: async () => (await import("./slurm.ts")).slurmCommand,
  doctor: async () => (await import("./doctor/doctor.ts")).doctorCommand,
});
