/** src/cli/main.ts: what a command that fails leaves on the terminal. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { readCommand } from "../../scripts/run_command.mjs";
import { evalCommand } from "../../src/cli/eval.ts";
import { ROOT } from "./source_files.ts";

it("a task that there is not is answered with the tasks, and with its stack where GRPO_DEBUG asks for it", async () => {
  const runtime = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-webgpu"]
    : ["--import", "tsx"];
  const args = [...runtime, join(ROOT, "src/cli/main.ts"), "trian"];
  const env = { ...process.env, GRPO_DEBUG: "1" };
  const { code, stdout, stderr } = await readCommand(process.execPath, args, { env });
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(
    stderr,
    /^RangeError: Unknown task "trian"; tasks: train, eval, scorer, .*\n +at .*main\.ts/,
  );
});

it("eval without prompts to evaluate says which setting is missing, before it loads anything", async () => {
  await assert.rejects(evalCommand(["--set", "eval_jsonl=null"]), {
    name: "TypeError",
    message: "Cannot evaluate: eval_jsonl is null; set it to a file of prompts",
  });
});
