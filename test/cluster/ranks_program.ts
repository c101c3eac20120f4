/** Programs that several ranks run, started by Open MPI's mpirun as on a machine of one's own. */
import { spawn } from "node:child_process";
import { ROOT } from "../unit/source_files.ts";

/** A job of a few steps that takes longer hangs. */
const DEADLINE_MS = 180_000;

export interface RanksOptions {
  /** Of the ranks; Node unless given. */
  runtime?: "node" | "deno";
  /** Within which the job has to end. */
  deadlineMs?: number;
}

export interface RanksEnded {
  /** mpirun's: 0 when every rank's was. */
  code: number;
  /** Standard output and standard error of all ranks. */
  output: string;
}

export interface RanksProgram {
  pid: number;
  /** Rejects with the output where the job did not end in time; it is killed then. */
  finished: Promise<RanksEnded>;
}

const DENO = ["node_modules/.bin/deno", "run", "-A", "--no-check", "--unstable-webgpu"];
const NODE = [process.execPath, "--import", "tsx"];

/** @param path of a program in this checkout */
export function startRanks(
  size: number,
  path: string,
  args: readonly string[],
  { runtime = "node", deadlineMs = DEADLINE_MS }: RanksOptions = {},
): RanksProgram {
  const mpirun = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", `${size}`];
  const child = spawn("mpirun", [...mpirun, ...(runtime === "deno" ? DENO : NODE), path, ...args], {
    cwd: ROOT,
    // Open MPI gives each rank a terminal of no columns.
    env: { ...process.env, DENO_WEBGPU_BACKEND: "vulkan", GRPO_WEBGPU_COLUMNS: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk) => output += chunk);
  }
  const finished = new Promise<RanksEnded>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${size} ranks of ${path} hung for ${deadlineMs / 1000} s. Their output:\n${output}`));
    }, deadlineMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, output });
    });
  });
  return { pid: child.pid!, finished };
}
