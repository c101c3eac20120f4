/** Starts ranks of a program by each launcher of this machine, in each runtime, for the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../unit/source_files.ts";

export interface Flavour {
  name: string;
  launch: string[];
  runtime: string[];
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

const MPIRUNS = {
  "Open MPI": ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe"],
  MPICH: ["mpirun.mpich"],
};

/** The program itself, not the package's script: ranks of MPICH inherit a descriptor, which a program between loses. */
function denoProgram(): string {
  const scope = join(ROOT, "node_modules", "@deno");
  const [platform] = existsSync(scope) ? readdirSync(scope) : [];
  return platform ? join(scope, platform, "deno") : "deno";
}

const RUNTIMES = {
  Node: [process.execPath, "--import", "tsx"],
  Deno: [denoProgram(), "run", "-A", "--no-check", "--unstable-webgpu"],
};

export const FLAVOURS: readonly Flavour[] = Object.entries(MPIRUNS).flatMap(([mpi, launch]) =>
  Object.entries(RUNTIMES).map(([runtime, command]) => ({
    name: `${mpi}, ${runtime}`,
    launch,
    runtime: command,
  }))
);

export interface Run {
  child: ChildProcess;
  /** What it has written so far. */
  output(): string;
  ended: Promise<Ended>;
}

/** All of what is within the time that the tests allow: a launcher that hangs is killed, with its group. */
export function startRanks(
  { launch, runtime }: Flavour,
  ranks: number,
  program: string[],
  { env = {}, timeoutMs = 120_000 }: { env?: Record<string, string>; timeoutMs?: number } = {},
): Run {
  const began = performance.now();
  const [command, ...args] = [...launch, "-n", String(ranks), ...runtime, ...program];
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout!.on("data", (chunk) => stdout += chunk);
  child.stderr!.on("data", (chunk) => stderr += chunk);
  const timer = setTimeout(() => {
    stderr += `not over within ${timeoutMs / 1000} s`;
    process.kill(-child.pid!, "SIGKILL");
  }, timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr, seconds: (performance.now() - began) / 1000 });
    });
  });
  return { child, output: () => stdout + stderr, ended };
}
