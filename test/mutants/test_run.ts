/** Runs tests of a workspace with Node's runner, until the first that fails. */
import { type ChildProcess, spawn } from "node:child_process";
import type { TestSelection } from "./fault.ts";
import { selected } from "./fault_list.ts";

export type Outcome =
  | { kind: "passed"; tests: number; seconds: number }
  | { kind: "failed"; test: string; seconds: number }
  | { kind: "timed out"; seconds: number }
  /** The code does not compile: any test would notice, so nothing is learned. */
  | { kind: "does not compile"; message: string; seconds: number };

const NODE = "Deno" in globalThis ? "node" : process.execPath;
/** What esbuild and the WGSL compilers say of code that is none. */
const COMPILE_ERROR =
  /^.*(Transform failed|TransformError|Error while parsing WGSL|(wrong: |link )kernels\/\S+\.wgsl:\d+: ).*$/m;
/** How long a failed test may go on to say why. */
const TELLING_MS = 200;
/** The innermost test that failed comes first: the lines of its suite and file follow. */
const FAILED_TEST = /^ *not ok \d+ - (.*)$/m;
const PASSED_TESTS = /^# pass (\d+)$/m;

/** The group, so that programs which a test started end too. */
function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    child.kill("SIGKILL"); // Windows has no groups
  }
}

/** @param deadlineMs a run that takes longer hangs */
export function runTests(dir: string, selection: TestSelection, deadlineMs: number): Promise<Outcome> {
  const { path, pattern } = selected(selection);
  const names = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`];
  const args = [
    "--import",
    "tsx",
    "--import",
    "./scripts/plain_asserts.mjs",
    "--test",
    "--test-concurrency=1",
    "--test-reporter=tap",
    ...names,
    path,
  ];
  // A runner that thinks it is part of another says nothing that can be read.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(NODE, args, {
      env,
      cwd: dir,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    let timedOut = false;
    let isEnding = false;
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (isEnding || !FAILED_TEST.test(output)) return;
      isEnding = true;
      setTimeout(killGroup, TELLING_MS, child);
    });
    child.stderr.on("data", (chunk) => output += chunk);
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child);
    }, deadlineMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      const seconds = (performance.now() - began) / 1000;
      const failed = output.match(FAILED_TEST)?.[1];
      const uncompiled = output.match(COMPILE_ERROR)?.[0];
      if (timedOut) resolve({ kind: "timed out", seconds });
      else if (code === 0) {
        resolve({ kind: "passed", tests: Number(output.match(PASSED_TESTS)?.[1] ?? 0), seconds });
      } else if (uncompiled) resolve({ kind: "does not compile", message: uncompiled.trim(), seconds });
      else resolve({ kind: "failed", test: failed ?? path, seconds });
    });
  });
}
