/** Starts the ranks of a run on this machine, through the mpirun that is there, and ends as they do. */
import { execFile, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { detectRuntime } from "../gpu/device.ts";
import { openRollCall, type RollCall } from "./roll_call.ts";
import { exitCodeAfter, STOP_SIGNALS } from "./signals.ts";
import { COLUMNS_VARIABLE, type TerminalOutput } from "./terminal/output.ts";

const START = fileURLToPath(new URL("../../scripts/start.mjs", import.meta.url));
const VERSION_MS = 30_000;
/** Until mpirun is killed that was asked to end its ranks and does not. */
const KILL_MS = 10_000;

/** The options of one mpirun that start so many ranks here, however few cores there are. */
type Spelling = (size: number) => string[];

const openMpi: Spelling = (size) => [
  // Ranks say themselves why they end.
  "--quiet",
  "-np",
  String(size),
  // Open MPI starts nothing for root otherwise, as in a container.
  ...process.getuid?.() === 0 ? ["--allow-run-as-root"] : [],
  "--map-by",
  "slot:OVERSUBSCRIBE",
  "--bind-to",
  "none",
];
const hydra: Spelling = (size) => ["-n", String(size), "-bind-to", "none"];

/** By what `mpirun --version` says. */
const KINDS: readonly (readonly [RegExp, Spelling])[] = [
  [/Open MPI|open-mpi|OpenRTE|PRRTE/i, openMpi],
  [/HYDRA|MPICH|Intel\(R\) MPI/i, hydra],
];

async function findMpirun(size: number): Promise<Spelling> {
  let version: string;
  try {
    version = (await promisify(execFile)("mpirun", ["--version"], { timeout: VERSION_MS })).stdout;
  } catch (error) {
    const found = (error as { code?: unknown }).code === "ENOENT"
      ? "found none in PATH"
      : `found one that fails: ${(error as Error).message.trim()}`;
    throw new Error(
      `Cannot start ${size} ranks: required mpirun of Open MPI or MPICH, ${found}. Install it (Debian, Ubuntu: ` +
        "apt-get install openmpi-bin; on a cluster: module load openmpi), or start the ranks by srun",
    );
  }
  const kind = KINDS.find(([says]) => says.test(version));
  if (kind) return kind[1];
  throw new Error(
    `Cannot start ${size} ranks: required mpirun of Open MPI or MPICH, found "${
      version.split("\n")[0]
    }"; put one of ` +
      "them first in PATH",
  );
}

/** This command again, as a rank. */
function rankCommand(words: readonly string[]): string[] {
  const runtime = detectRuntime() === "deno" ? ["run", "-A", "--unstable-webgpu"] : [];
  return [process.execPath, ...runtime, START, ...words];
}

/**
 * Runs `words` as so many ranks, on this terminal.
 * @param words of the command, the task's name first
 * @returns the exit code of the run
 * @throws Error when there is no mpirun, or none that is known
 */
export async function runRanks(
  size: number,
  words: readonly string[],
  output: TerminalOutput,
): Promise<number> {
  const options = (await findMpirun(size))(size);
  const rollCall = openRollCall(size);
  const columns = output.isTTY ? output.columns ?? 80 : 0;
  const child = spawn("mpirun", [...options, ...rankCommand(words)], {
    // Nothing is read from a terminal. A group of its own: Ctrl-C would have mpirun kill the ranks.
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
    env: { ...process.env, ...rollCall.variables, [COLUMNS_VARIABLE]: String(columns) },
  });
  const relay = handOnSignals(() => child.pid!, rollCall, output);
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (ended) => resolve(ended ?? 1));
    });
    return relay.endedBy() ?? code;
  } finally {
    relay.close();
    rollCall.close();
  }
}

/** Sends each rank each signal once; ends them at once where they do not listen yet, or do not end. */
function handOnSignals(mpirun: () => number, rollCall: RollCall, { write }: TerminalOutput) {
  let received = 0;
  let endedBy: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const send = (pid: number, signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself.
    }
  };
  const endAll = () => {
    send(mpirun(), "SIGTERM");
    timer ??= setTimeout(() => send(-mpirun(), "SIGKILL"), KILL_MS);
  };
  const handOn = (signal: NodeJS.Signals) => {
    received++;
    const ranks = rollCall.present();
    // The third has ranks end at once; one that is stuck in its driver hears of none.
    if (ranks !== null && received < 4) return ranks.forEach((pid) => send(pid, signal));
    endedBy = exitCodeAfter(signal);
    if (ranks === null) write(`\n${signal}: ended before the first step; the same command starts again.\n`);
    endAll();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, handOn);
  return {
    /** The exit code of ranks that were ended before they could answer for themselves. */
    endedBy: () => endedBy,
    close() {
      clearTimeout(timer);
      for (const signal of STOP_SIGNALS) process.off(signal, handOn);
    },
  };
}
