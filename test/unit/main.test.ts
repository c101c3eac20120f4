/** src/cli/main.ts and scripts/dev.ts: what a command that fails leaves on the terminal. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { readCommand } from "../../scripts/run_command.mjs";
import { evalCommand } from "../../src/cli/eval.ts";
import { ROOT } from "./source_files.ts";

const ENTRIES = {
  "src/cli/main.ts":
    'train, eval, scorer, data, report, rollouts, es-replay, judge, slurm, doctor; did you mean "train"?',
  "scripts/dev.ts":
    "bench, chaos, gpu-report, mutants, parity, test:browser, test:cluster, test:gpu-variants",
};

for (const [entry, tasks] of Object.entries(ENTRIES)) {
  it(`a task that ${entry} has not is answered with its tasks, and with a stack if GRPO_DEBUG is set`, async () => {
    const runtime = "Deno" in globalThis
      ? ["run", "-A", "--no-check", "--unstable-webgpu"]
      : ["--import", "tsx"];
    const args = [...runtime, join(ROOT, entry), "trian"];
    const env = { ...process.env, GRPO_DEBUG: "1" };
    const { code, stdout, stderr } = await readCommand(process.execPath, args, { env });
    assert.deepEqual([code, stdout], [1, ""]);
    const [message, ...stack] = stderr.split("\n");
    assert.equal(message, `RangeError: Unknown task "trian"; tasks: ${tasks}`);
    assert.match(stack.join("\n"), /^ +at .*program\.ts/);
  });
}

it("eval without prompts to evaluate says which setting is missing, before it loads anything", async () => {
  await assert.rejects(evalCommand(["--set", "eval_jsonl=null"]), {
    name: "TypeError",
    message: "Cannot evaluate: eval_jsonl is null; set it to a file of prompts",
  });
});
