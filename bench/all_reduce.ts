/** All-reduce of typed arrays between two ranks of this machine: ours beside the same and MPI's own in C. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readCommand } from "../scripts/run_command.mjs";
import { alignColumns, milliseconds, times } from "./table.ts";

/** Medians, of arrays of so many MiB. */
export interface AllReduceSize {
  megabytes: number;
  seconds: number;
  /** In C: the same exchange and sum. */
  sharesSeconds: number;
  /** In C: MPI_Allreduce. */
  mpiSeconds: number;
}

const RANKS = 2;
const TIMEOUT_MS = 120_000;
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** @throws Error when the program fails */
async function output(command: string, args: string[]): Promise<string> {
  const env = { ...process.env };
  const { code, stdout, stderr } = await readCommand(command, args, { timeoutMs: TIMEOUT_MS, env });
  if (code === 0) return stdout;
  throw new Error(
    `Cannot time all-reduce: "${command} ${
      args.join(" ")
    }" ended with ${code}; it needs Open MPI's mpirun and mpicc ` +
      `(Debian: openmpi-bin, libopenmpi-dev, gcc):\n${stderr}`,
  );
}

/** Starts the ranks, which have ours and C's in one process, in turn. */
export async function benchAllReduce(samples: number): Promise<AllReduceSize[]> {
  const folder = mkdtempSync(join(tmpdir(), "grpo-all-reduce-"));
  const library = join(folder, "all_reduce.so");
  try {
    await output("mpicc.openmpi", ["-O3", "-shared", "-fPIC", path("peers/all_reduce.c"), "-o", library]);
    const runtime = "Deno" in globalThis
      ? [process.execPath, "run", "-A", "--no-check"]
      : [process.execPath, "--import", "tsx"];
    const launch = ["--allow-run-as-root", "--oversubscribe", "-n", String(RANKS)];
    const program = [...runtime, path("all_reduce_rank.ts"), library, String(samples)];
    return JSON.parse(await output("mpirun.openmpi", [...launch, ...program])) as AllReduceSize[];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Speeds are ratios: above 1 ours is the faster. */
export function allReduceTable(title: string, sizes: readonly AllReduceSize[]): string {
  const rows = sizes.map(({ megabytes, seconds, sharesSeconds, mpiSeconds }) => [
    `${megabytes} MiB`,
    milliseconds(seconds),
    milliseconds(sharesSeconds),
    milliseconds(mpiSeconds),
    times(sharesSeconds / seconds),
    times(mpiSeconds / seconds),
  ]);
  const head = ["f32", "ours ms", "C, same ms", "C, MPI_Allreduce ms", "speed, same", "speed, MPI_Allreduce"];
  return `${title}\nall-reduce between ${RANKS} ranks of this machine over Open MPI, medians\n\n${
    alignColumns([head, ...rows])
  }`;
}
