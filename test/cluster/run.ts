/**
 * The `test:cluster` command: tests that need MPI or SLURM, one file at a time, in Node; what a test starts runs in
 * Node and in Deno. Debian's packages are installed first where they are missing.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { countingLeftOut } from "../../scripts/check.mjs";
import { ensureClusterPackages } from "../../scripts/setup_cluster.mjs";
import { filesUnder, ROOT } from "../unit/source_files.ts";

const NODE = "Deno" in globalThis ? "node" : process.execPath;
/** A file that takes longer hangs: the whole suite has to end within ten minutes. */
const FILE_MS = 8 * 60_000;

/** Runs a file on this terminal, in a group of its own, so that what it started ends with it. @returns its exit code */
function runFile(file: string, notes: Record<string, string>): Promise<number> {
  const modules = ["tsx", "./scripts/plain_asserts.mjs"].flatMap((module) => ["--import", module]);
  const child = spawn(NODE, [...modules, "--test-reporter=spec", join(ROOT, file)], {
    cwd: ROOT,
    env: { ...process.env, ...notes },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const end = (signal: NodeJS.Signals) => {
    try {
      if (child.pid) process.kill(-child.pid, signal);
    } catch {
      // It has ended by itself.
    }
  };
  const handOn = (signal: NodeJS.Signals) => end(signal);
  const timer = setTimeout(() => {
    console.log(`${file} has not ended within ${FILE_MS / 1000} s`);
    end("SIGKILL");
  }, FILE_MS);
  process.on("SIGINT", handOn).on("SIGTERM", handOn);
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  }).finally(() => {
    clearTimeout(timer);
    process.off("SIGINT", handOn).off("SIGTERM", handOn);
  });
}

/** `test:cluster`: returns the exit code, 1 when a test fails. */
export async function clusterCommand(args: string[]): Promise<number> {
  const { file: pattern } = new Command("test:cluster")
    .description(
      "Run the tests that need MPI or SLURM, one file at a time; installs Debian's packages as root.",
    )
    .option("--file <pattern>", "test files whose path matches", (text) => new RegExp(text))
    .parse(args, { from: "user" }).opts<{ file?: RegExp }>();
  await ensureClusterPackages();
  const files = filesUnder("test/cluster", ".test.ts").filter((path) => !pattern || pattern.test(path));
  if (files.length === 0) throw new RangeError(`No test file of test/cluster/ matches ${pattern}`);
  return await countingLeftOut(async (notes) => {
    let failed = 0;
    for (const file of files) {
      const began = performance.now();
      const code = await runFile(file, notes);
      if (code !== 0) failed++;
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      console.log(`${code === 0 ? "ok  " : "FAIL"} ${file}: ${seconds} s`);
    }
    return failed === 0 ? 0 : 1;
  });
}
