// The tests, and the gate that a change must pass: types, lint, format, tests.
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runCommand } from "./run_command.mjs";

const RUNS_IN_DENO = "Deno" in globalThis;

/**
 * Runs every test/**\/*.test.ts with the runtime's own runner.
 * @param {string} root the checkout
 * @param {string[]} args paths of test files to run instead, and options of the runner
 * @returns {Promise<number>} exit code
 */
export async function runTests(root, args) {
  const named = args.filter((argument) => argument.endsWith(".test.ts"));
  const options = args.filter((argument) => !argument.endsWith(".test.ts"));
  const files = named.length > 0 ? named : testFiles(root);
  const run = RUNS_IN_DENO ? runInDeno : runInNode;
  return await countingLeftOut((notes) =>
    run(files, options, { root, options: { cwd: root, env: { ...process.env, ...notes } } })
  );
}

/** @typedef {{ root: string, options: import("./run_command.mjs").CommandOptions }} Place */

// Types are checked by the gate, by one compiler for both runtimes.
// Two files at a time: while one loads its modules on one core, the other has a core for the software GPU.

/**
 * @param {string[]} files
 * @param {string[]} options of the runner
 * @param {Place} place
 */
function runInNode(files, options, place) {
  const plainAsserts = join(place.root, "scripts", "plain_asserts.mjs");
  const runner = ["--import", "tsx", "--import", plainAsserts, "--test", "--test-concurrency=2"];
  return runCommand(
    process.execPath,
    [...runner, "--test-reporter=spec", ...options, ...files],
    place.options,
  );
}

/** So many that the last one to end keeps the other core waiting for a short time, so few that starts cost little. */
const DENO_SHARES = 8;

/**
 * Deno's own way to run files side by side is threads of one process, which share its environment: here they are
 * processes, two at a time, each with a share of the files. What one says is printed when it has ended.
 * @param {string[]} files
 * @param {string[]} options of the runner
 * @param {Place} place
 */
async function runInDeno(files, options, place) {
  const runner = ["test", "-A", "--unstable-webgpu", "--no-check", ...options];
  const count = Math.min(DENO_SHARES, files.length);
  if (count < 2) return await runCommand(process.execPath, [...runner, ...files], place.options);
  const shares = Array.from({ length: count }, (_, share) => files.filter((_, i) => i % count === share));
  const folder = mkdtempSync(join(tmpdir(), "grpo-tests-"));
  let failure = 0;
  const work = async () => {
    for (let share = shares.shift(); share; share = shares.shift()) {
      const path = join(folder, String(shares.length));
      const said = openSync(path, "w");
      try {
        const code = await runCommand(process.execPath, [...runner, ...share], {
          ...place.options,
          stdio: ["ignore", said, said],
        });
        failure ||= code;
      } finally {
        closeSync(said);
      }
      process.stdout.write(readFileSync(path));
    }
  };
  try {
    await Promise.all([work(), work()]);
    return failure;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs tests and then prints which of them were left out.
 * @param {(environment: { GRPO_LEFT_OUT_TESTS: string }) => Promise<number>} run given what the tests' environment
 *   must have
 * @returns {Promise<number>} what `run` returns
 */
export async function countingLeftOut(run) {
  const notes = mkdtempSync(join(tmpdir(), "grpo-tests-"));
  try {
    const leftOut = join(notes, "left_out");
    const code = await run({ GRPO_LEFT_OUT_TESTS: leftOut });
    console.log(leftOutText(existsSync(leftOut) ? readFileSync(leftOut, "utf8") : ""));
    return code;
  } finally {
    rmSync(notes, { recursive: true, force: true });
  }
}

/**
 * A runner's count of skipped tests is lost in its output, and Deno's leaves some out.
 * @param {string} notes a line for each test, written by test/left_out.ts
 */
function leftOutText(notes) {
  const lines = notes.split("\n").filter((line) => line !== "");
  return [`Tests left out on this machine: ${lines.length}`, ...lines.map((line) => `  ${line}`)].join("\n");
}

/**
 * Runs the whole gate and stops at the first part that fails.
 * @param {string} root the checkout
 * @returns {Promise<number>} exit code
 */
export async function runGate(root) {
  /** @type {[string, () => Promise<number>][]} */
  const parts = [
    ["types", () => runCommand(process.execPath, [...script(root, "typescript/bin/tsc"), "-p", root])],
    [
      "types of the page",
      () => runCommand(process.execPath, [...script(root, "typescript/bin/tsc"), "-p", join(root, "page")]),
    ],
    ["lint", () => runCommand(denoProgram(root), ["lint", "--quiet"], { cwd: root })],
    ["format", () => runCommand(denoProgram(root), ["fmt", "--check", "--quiet"], { cwd: root })],
    ["tests", () => runTests(root, [])],
  ];
  for (const [name, run] of parts) {
    const startMs = performance.now();
    const code = await run();
    console.error(
      `${code === 0 ? "ok  " : "FAIL"} ${name} (${((performance.now() - startMs) / 1000).toFixed(1)} s)`,
    );
    if (code !== 0) return code;
  }
  return 0;
}

/** Folders of tests that are tasks of their own. */
const OTHER_TASKS = ["package", "gpu_variants", "cluster", "browser", "chaos_runs"];

/**
 * All but those of other tasks.
 * @param {string} root
 */
function testFiles(root) {
  return readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".test.ts") && !OTHER_TASKS.includes(path.split(/[\\/]/)[0]))
    .map((path) => join("test", path)).sort();
}

/**
 * Arguments that run a package's script with the present runtime.
 * @param {string} root
 * @param {string} path inside node_modules
 */
function script(root, path) {
  return [...(RUNS_IN_DENO ? ["run", "-A"] : []), join(root, "node_modules", path)];
}

/**
 * Lint and format are Deno's also under Node: from the package `deno`.
 * @param {string} root
 */
function denoProgram(root) {
  if (RUNS_IN_DENO) return process.execPath;
  return join(root, "node_modules", ".bin", process.platform === "win32" ? "deno.cmd" : "deno");
}
