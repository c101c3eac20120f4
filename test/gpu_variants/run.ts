/** The `test:gpu-variants` command: tests of kernels again, in the ways of passes.ts. Always in Node: Deno has no toggles. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { countingLeftOut } from "../../scripts/check.mjs";
import { newerVulkan } from "../../scripts/newer_vulkan.mjs";
import { leftOut } from "../left_out.ts";
import { ROOT } from "../unit/source_files.ts";
import { type Pass, PASSES } from "./passes.ts";
import { failuresIn, passedIn } from "./tap.ts";

const NODE = "Deno" in globalThis ? "node" : process.execPath;
/** Test files at a time: while one compiles on one core, the other has a core. */
const AT_ONCE = 2;
const FILE_MS = 20 * 60_000;

type Environment = Record<string, string | undefined>;
type Start = (program: string, args: string[]) => { command: string; args: string[]; env: Environment };
type Vulkan = Awaited<ReturnType<typeof newerVulkan>>;

const asItIs: Start = (command, args) => ({ command, args, env: {} });

/** Runs a test file in a process of its own, which is not Node's runner: a loader that starts Node is not Node. */
function runFile(file: string, { preloads = [], environment }: Pass, start: Start, notes: Environment) {
  const modules = ["tsx", "./scripts/plain_asserts.mjs", ...preloads.map((path) => `./${path}`)];
  const options = [...modules.flatMap((module) => ["--import", module]), "--test-reporter=tap"];
  const { command, args, env } = start(NODE, [...options, join(ROOT, file)]);
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...notes, ...environment, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: FILE_MS,
    killSignal: "SIGKILL",
  });
  return new Promise<{ ok: boolean; output: string }>((resolve, reject) => {
    let output = "";
    child.stdout.on("data", (chunk) => output += chunk);
    child.stderr.on("data", (chunk) => output += chunk);
    child.on("error", reject);
    child.on("close", (code) => resolve({ ok: code === 0, output }));
  });
}

/** Runs a pass, and tells of each file that fails. @returns whether all pass */
async function runPass(pass: Pass, start: Start, notes: Environment): Promise<boolean> {
  const began = performance.now();
  const queue = [...pass.files];
  let [passed, failed] = [0, 0];
  const work = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const { ok, output } = await runFile(file, pass, start, notes);
      passed += passedIn(output);
      if (ok) continue;
      failed++;
      console.log(`FAIL ${file}\n${failuresIn(output)}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  const result = failed === 0 ? "ok  " : "FAIL";
  console.log(`${result} ${pass.title}: ${passed} tests in ${pass.files.length} files, ${seconds} s`);
  return failed === 0;
}

/** `test:gpu-variants`: returns the exit code, 1 when a test fails. */
export async function gpuVariantsCommand(args: string[]): Promise<number> {
  const { only, file } = new Command("test:gpu-variants")
    .description("Run the tests of kernels as other GPUs would run them, on software Vulkan; in Node.")
    .option("--only <pattern>", "passes whose title matches", (text) => new RegExp(text))
    .option("--file <pattern>", "test files whose path matches", (text) => new RegExp(text))
    .parse(args, { from: "user" }).opts<{ only?: RegExp; file?: RegExp }>();
  const passes = PASSES.filter(({ title }) => !only || only.test(title))
    .map((pass) => ({ ...pass, files: pass.files.filter((path) => !file || file.test(path)) }))
    .filter(({ files }) => files.length > 0);
  return await countingLeftOut(async (notes) => {
    Object.assign(process.env, notes);
    let vulkan: Vulkan | undefined;
    let failed = 0;
    for (const pass of passes) {
      if (pass.needsNewerVulkan) vulkan ??= await newerVulkan();
      if (pass.needsNewerVulkan && "missing" in vulkan!) {
        leftOut(pass.title, `no newer Vulkan: ${vulkan.missing}`);
        continue;
      }
      const start = pass.needsNewerVulkan && "starting" in vulkan! ? vulkan.starting : asItIs;
      if (!await runPass(pass, start, notes)) failed++;
    }
    return failed === 0 ? 0 : 1;
  });
}
