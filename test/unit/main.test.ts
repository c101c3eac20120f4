/** src/cli/main.ts: what a command that fails leaves on the terminal. */
import assert from "node:assert/strict";
import process from "node:process";
import { it } from "node:test";
import { readCommand } from "../../scripts/run_command.mjs";
import { evalCommand } from "../../src/cli/eval.ts";
import { ROOT } from "./source_files.ts";

function runMain(args: string[], variables: Record<string, string>) {
  const runtime = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-webgpu"]
    : ["--import", "tsx"];
  const { GRPO_DEBUG: _, ...env } = process.env;
  return readCommand(process.execPath, [...runtime, `${ROOT}src/cli/main.ts`, ...args], {
    env: { ...env, ...variables },
  });
}

it("a task that there is not is answered in one line, with its stack only where GRPO_DEBUG asks for it", async () => {
  const plain = await runMain(["trian"], {});
  assert.deepEqual([plain.code, plain.stdout], [1, ""]);
  assert.match(plain.stderr, /^Unknown task "trian"; tasks: train, eval, scorer, .*\n$/);
  const asked = await runMain(["trian"], { GRPO_DEBUG: "1" });
  assert.equal(asked.code, 1);
  assert.match(asked.stderr, /^RangeError: Unknown task "trian".*\n +at .*main\.ts/);
});

it("eval without prompts to evaluate says which setting is missing, before it loads anything", async () => {
  await assert.rejects(evalCommand(["--set", "eval_jsonl=null"]), {
    name: "TypeError",
    message: "Cannot evaluate: eval_jsonl is null; set it to a file of prompts",
  });
});
