/** The examples as a reader runs them, with few steps, in the runtime that runs the tests. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { leftOut } from "../left_out.ts";
import { inScratchFolder, metricRows, ROOT, RUN, succeed, trainArgs } from "./program.ts";

const RUNTIME = "Deno" in globalThis ? ["run", "-A", "--no-check", "--unstable-webgpu"] : ["--import", "tsx"];

/** @returns what it printed; rejects where it fails or hangs */
async function runExample(name: string, env: Record<string, string>, args: string[] = []): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...RUNTIME, join(ROOT, "examples", name), ...args],
    { cwd: ROOT, env: { ...process.env, ...env }, timeout: 240_000 },
  );
  return stdout;
}

const PYTHON = "python3";
const hasPython = spawnSync(PYTHON, ["--version"]).status === 0;

/** The address that the scorer prints once it listens. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
      if (said.includes("\n")) resolve(said.slice(0, said.indexOf("\n")));
    });
    child.on("close", (code) => reject(new Error(`${PYTHON} ended with ${code}`)));
  });
}

describe("examples", () => {
  it("own_reward.ts trains with two rewards and a cost in TypeScript", () =>
    inScratchFolder(async (OUT) => {
      const said = await runExample("own_reward.ts", { OUT, STEPS: "2" });
      assert.match(said, /^step 1 {2}length 0\.\d\d {2}reckless -?\d\.\d\d\n/);
      const [row] = metricRows(join(OUT, "beta0.01_seed42_unified"));
      const sum = row["rewards/fitting_length/mean"] + 0.5 * row["rewards/on_topic/mean"];
      assert.ok(Math.abs(row["helpfulness/mean"]! - sum) < 1e-12, "the weighted sum is the reward");
      assert.equal(row["cost/mean"], row["costs/reckless/mean"]);
    }));

  it("lora_chat.ts trains an adapter and answers with it", () =>
    inScratchFolder(async (OUT) => {
      const said = await runExample("lora_chat.ts", { OUT, STEPS: "1", TOKENS: "6" });
      assert.match(said, /step 1 {2}concise \d[^]*\nHow do I fix a tap\?\n {2}\S/);
      assert.ok(existsSync(join(OUT, RUN, "adapter_model.safetensors")));
    }));

  it("compare_runs.ts lays two runs side by side, and runs that are given", () =>
    inScratchFolder(async (OUT) => {
      const said = await runExample("compare_runs.ts", { OUT, STEPS: "1" });
      assert.match(said, /beta0\.02_seed42_unified {2}reward [^]*beta0\.2_seed42_unified {2}reward /);
      assert.ok(existsSync(join(OUT, "comparison.html")));
      const again = await runExample("compare_runs.ts", { OUT }, [join(OUT, RUN), join(OUT, RUN)]);
      assert.equal(again.split("\n").filter((line) => line.startsWith(`${RUN}  reward`)).length, 2);
    }));

  const noPython = !hasPython && `there is no ${PYTHON}`;
  it(
    "python_scorer.py judges a run",
    { skip: leftOut("examples/python_scorer.py", noPython) },
    () =>
      inScratchFolder(async (folder) => {
        const child = spawn(PYTHON, [join(ROOT, "examples/python_scorer.py"), "0"], {
          stdio: ["ignore", "pipe", "inherit"],
        });
        try {
          const scorer_url = await firstLine(child);
          await succeed(trainArgs(folder, { scorer_url, max_steps: 1 }));
          const [row] = metricRows(join(folder, RUN));
          assert.ok(row["helpfulness/mean"]! < 1 && row["helpfulness/mean"]! > 0);
          assert.ok(
            (row["cost/mean"]! + 0.5) * 8 % 1 === 0,
            "each cost is a whole number of words, less a half",
          );
        } finally {
          child.kill();
        }
      }),
  );
});
