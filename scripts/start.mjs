#!/usr/bin/env node
// The one door: readies the machine, then runs a task. Later starts find everything ready and add little.
//   node scripts/start.mjs <task> [arguments]        npm run <task> -- [arguments]
//   deno run -A scripts/start.mjs <task> [arguments]  deno task <task> [arguments]
// and where the npm package is installed, which has its packages and none of the developers' tasks:
//   npx grpo-webgpu <task> [arguments]                deno run -A npm:grpo-webgpu <task> [arguments]
// Plain JavaScript without packages, because it runs before they are installed.
import "./door_signals.mjs";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildPackage } from "./build.mjs";
import { runGate, runTests } from "./check.mjs";
import { nearestOf } from "./nearest.mjs";
import { nameNvidiaDriver } from "./nvidia_manifest.mjs";
import { refuseKeptOptions } from "./npm_options.mjs";
import { watchNpm } from "./npm_parent.mjs";
import { takeYes } from "./root.mjs";
import { runCommand } from "./run_command.mjs";
import { ensurePackages } from "./setup_packages.mjs";
import { ensureAdapter } from "./setup_vulkan.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
// The first Node whose modules can be compiled while they load (module.register).
const MIN_NODE = [20, 6];
/** Whether this is the project itself and not its npm package. */
const IS_CHECKOUT = existsSync(join(ROOT, "src"));
const PROGRAM = IS_CHECKOUT ? ["src", "cli", "main.ts"] : ["dist", "cli", "main.js"];
/** Of the tasks that only developers need. */
const DEV_PROGRAM = ["scripts", "dev.ts"];
/** @type {Record<string, { needsGpu: boolean, needsDev: boolean, entry?: string[] }>} */
const TASKS = {
  train: { needsGpu: true, needsDev: false },
  eval: { needsGpu: true, needsDev: false },
  scorer: { needsGpu: true, needsDev: false },
  // Compares with a library that nothing else needs.
  bench: { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // What a card does with the kernels: the benchmarks' code.
  "gpu-report": { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // Runs in Node and in Deno, which is a package of the developers.
  parity: { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // Runs tests, and a mutation tester that only developers have.
  mutants: { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  data: { needsGpu: false, needsDev: false },
  report: { needsGpu: false, needsDev: false },
  rollouts: { needsGpu: false, needsDev: false },
  "es-replay": { needsGpu: true, needsDev: false },
  judge: { needsGpu: false, needsDev: false },
  // Writes a script, on a login node without a GPU.
  slurm: { needsGpu: false, needsDev: false },
  // Says what is missing, so it installs no driver.
  doctor: { needsGpu: false, needsDev: false },
  test: { needsGpu: true, needsDev: true },
  // Packs, installs elsewhere and trains there: minutes, and the npm registry.
  "test:package": { needsGpu: true, needsDev: true },
  // Tests of kernels again, as other GPUs would run them: minutes.
  "test:gpu-variants": { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // Several processes as ranks of MPI, and a SLURM of one machine: minutes, and Debian's packages.
  "test:cluster": { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // The report's page in a headless browser, which Debian has: a minute.
  "test:browser": { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  // Runs that are killed, signalled and lied to: minutes.
  chaos: { needsGpu: true, needsDev: true, entry: DEV_PROGRAM },
  ok: { needsGpu: true, needsDev: true },
  build: { needsGpu: false, needsDev: true },
};
const TASK_NAMES = Object.keys(TASKS).filter((name) => IS_CHECKOUT || !TASKS[name].needsDev);
const PACKAGE_TEST = join("test", "package", "installed.test.ts");
/** What a message puts in front of a task's name where it says what to type: src/config/command_line.ts. */
const CALLS = IS_CHECKOUT
  ? { node: "npm run", deno: "deno task" }
  : { node: "npx grpo-webgpu", deno: "deno run -A npm:grpo-webgpu" };
const ASKS_ONLY = ["--help", "-h", "--dry-run"];

/**
 * @param {string} name
 * @param {string[]} args
 */
async function setUp(name, args) {
  const task = TASK_NAMES.includes(name) ? TASKS[name] : undefined;
  if (!task) {
    const nearest = nearestOf(name, TASK_NAMES);
    const meant = nearest ? `; did you mean "${nearest}"?` : "";
    throw new RangeError(`Unknown task "${name}"; tasks: ${TASK_NAMES.join(", ")}${meant}`);
  }
  process.env.GRPO_WEBGPU_CALL = "Deno" in globalThis ? CALLS.deno : CALLS.node;
  refuseKeptOptions(ROOT, name, args);
  checkNode();
  const installed = IS_CHECKOUT && await ensurePackages(ROOT, { dev: task.needsDev });
  // On Linux Deno would otherwise try OpenGL too, complain about a missing display, and offer an adapter that
  // cannot run these kernels.
  if (process.platform === "linux") {
    process.env.DENO_WEBGPU_BACKEND ??= "vulkan";
    nameNvidiaDriver(process.env);
  }
  if (task.needsGpu && !args.some((argument) => ASKS_ONLY.includes(argument))) await ensureAdapter(ROOT);
  return { installed };
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
    throw new Error(
      `Node ${process.versions.node} is too old: need ${MIN_NODE.join(".")} or newer; install a newer Node`,
    );
  }
}

/**
 * Runs the task's program in this process: signals, exit code and terminal are its own.
 * @param {string} name
 */
async function runProgram(name) {
  const entry = join(ROOT, ...TASKS[name].entry ?? PROGRAM);
  process.argv[1] = entry;
  if (!("Deno" in globalThis)) (await import("tsx/esm/api")).register();
  await import(pathToFileURL(entry).href);
}

/** A checkout's deno.json turns it on; whoever installed the package may not have given Deno the flag. */
const lacksWebGpu = () => !IS_CHECKOUT && !("gpu" in navigator);

/** A Deno that started without packages does not see them appear, nor a GPU without its flag: a new one does. */
function runAgain() {
  return runCommand(process.execPath, ["run", "-A", "--unstable-webgpu", ...process.argv.slice(1)], {
    handsOn: ["SIGUSR1", "SIGUSR2"],
  });
}

// `deno task train -- --dry-run` hands "--" on, which `npm run` takes away.
if (process.argv[3] === "--") process.argv.splice(3, 1);
takeYes(process.argv, process.env);
const [name = "", ...args] = process.argv.slice(2);
// Commands that run for long, and save or serve.
if (["train", "eval", "scorer"].includes(name)) watchNpm(name);
let ready;
try {
  ready = await setUp(name, args);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
if (ready) {
  if (name === "test") process.exitCode = await runTests(ROOT, args);
  else if (name === "test:package") process.exitCode = await runTests(ROOT, [PACKAGE_TEST, ...args]);
  else if (name === "ok") process.exitCode = await runGate(ROOT);
  else if (name === "build") process.exitCode = await buildPackage(ROOT);
  else if ("Deno" in globalThis && (ready.installed || lacksWebGpu())) process.exitCode = await runAgain();
  else await runProgram(name);
}
