/** Runs one test file, for the commands that run theirs one at a time. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "./unit/source_files.ts";

const NODE = "Deno" in globalThis ? "node" : process.execPath;

export interface FileRun {
  env: Record<string, string>;
  /** A file that takes longer hangs, and is killed with all that it started. */
  limitMs: number;
  /** Told each whole line of its standard output. */
  onLine?(line: string): void;
}

/**
 * Runs a file in Node on this terminal, in a group of its own, so that what it started ends with it.
 * @returns its exit code
 */
export function runFile(file: string, { env, limitMs, onLine }: FileRun): Promise<number> {
  const modules = ["tsx", "./scripts/plain_asserts.mjs"].flatMap((module) => ["--import", module]);
  const child = spawn(NODE, [...modules, "--test-reporter=spec", join(ROOT, file)], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", onLine ? "pipe" : "inherit", "inherit"],
    detached: true,
  });
  let rest = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    process.stdout.write(chunk);
    const lines = `${rest}${chunk}`.split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine?.(line);
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
    console.log(`${file} has not ended within ${limitMs / 1000} s`);
    end("SIGKILL");
  }, limitMs);
  process.on("SIGINT", handOn).on("SIGTERM", handOn);
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  }).finally(() => {
    clearTimeout(timer);
    process.off("SIGINT", handOn).off("SIGTERM", handOn);
  });
}
