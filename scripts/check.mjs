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

/**
 * Deno's own way to run files side by side is threads of one process, which share its environment: here they are two
 * processes. What the second says is printed when the first has ended.
 * @param {string[]} files
 * @param {string[]} options of the runner
 * @param {Place} place
 */
async function runInDeno(files, options, place) {
  const runner = ["test", "-A", "--unstable-webgpu", "--no-check", ...options];
  const [first, second] = [0, 1].map((half) => files.filter((_, i) => i % 2 === half));
  if (second.length === 0) return await runCommand(process.execPath, [...runner, ...first], place.options);
  const folder = mkdtempSync(join(tmpdir(), "grpo-tests-"));
  const path = join(folder, "second_half");
  const said = openSync(path, "w");
  try {
    const codes = await Promise.all([
      runCommand(process.execPath, [...runner, ...first], place.options),
      runCommand(process.execPath, [...runner, ...second], {
        ...place.options,
        stdio: ["ignore", said, said],
      }),
    ]);
    process.stdout.write(readFileSync(path));
    return codes.find((code) => code !== 0) ?? 0;
  } finally {
    closeSync(said);
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
