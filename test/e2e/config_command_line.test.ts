/** Settings on their way in: the file, --set, --beta and --seed, and --dry-run, which shows them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { parse } from "yaml";
import { doctorCommand } from "../../src/cli/doctor/doctor.ts";
import { evalCommand } from "../../src/cli/eval.ts";
import { trainCommand } from "../../src/cli/train.ts";
import { type Config, CONFIG_KEYS } from "../../src/config/schema.ts";
import { capture, closeStage, openStage, type Ran, runCommand, scratch, type Stage } from "./config_run.ts";
import { ROOT } from "./program.ts";

/** What a script of slurm/ gives to the command: `srun` is replaced by a program that prints what it is given. */
async function argumentsOf(script: string, command: string): Promise<string[]> {
  mkdirSync(scratch("bin"), { recursive: true });
  writeFileSync(scratch("bin/srun"), `#!/bin/sh\nprintf '%s\\n' "$@"\n`, { mode: 0o755 });
  const env = {
    ...process.env,
    PATH: `${scratch("bin")}:${process.env.PATH}`,
    SLURM_SUBMIT_DIR: ROOT,
    SLURM_ARRAY_TASK_ID: "2",
    SCORER_URL_FILE: "/jobs/scorer-7.url",
    MODEL: "outputs/a-model",
  };
  const { stdout } = await promisify(execFile)("bash", [script], { cwd: ROOT, env });
  const words = stdout.trimEnd().split("\n");
  const start = words.indexOf("--");
  assert.deepEqual(words.slice(start - 3, start), ["npm", "run", command]);
  return words.slice(start + 1);
}

const settingsIn = ({ output }: Pick<Ran, "output">): Config => parse(output);

describe("settings", () => {
  let stage: Stage;
  before(async () => void (stage = await openStage()));
  after(() => closeStage(stage));

  it("of the file hold where the command line says nothing, and the defaults where neither does", async () => {
    const shown = settingsIn(await runCommand(stage, "train", { epsilon: 0.125 }, ["--dry-run"]));
    assert.deepEqual([shown.epsilon, shown.learning_rate, shown.adam_beta1], [0.125, 0.01, 0.9]);
    assert.deepEqual(Object.keys(shown).sort(), [...CONFIG_KEYS].sort(), "every key is shown");
  });

  it("of --beta and --seed win over --set, and the last --set over those before it", async () => {
    const options = ["--beta", "0,0.5", "--seed", "3", "--set", "epsilon=0.25"];
    const given = { epsilon: 0.125, beta: 1, seed: 9 };
    const shown = settingsIn(await runCommand(stage, "train", given, [...options, "--dry-run"]));
    assert.deepEqual([shown.beta, shown.seed, shown.epsilon], [[0, 0.5], 3, 0.25]);
  });

  for (const command of ["train", "eval"] as const) {
    it(`are all that ${command} --dry-run prints: nothing is scored or written`, async () => {
      const settings = { eval_jsonl: scratch("eval.jsonl"), max_steps: 7 };
      const ran = await runCommand(stage, command, settings, ["--dry-run"]);
      assert.equal(ran.code, 0, ran.error?.message);
      assert.equal(settingsIn(ran).max_steps, 7);
      assert.deepEqual(ran.batches, []);
      assert.ok(!existsSync(ran.dir), "no folder");
    });
  }

  it("are all that doctor --dry-run prints", async () => {
    const args = ["--config", scratch("base.yaml"), "--set", "max_steps=7", "--dry-run"];
    const ran = await capture(() => doctorCommand(args));
    assert.equal(ran.code, 0, ran.error?.message);
    assert.equal(settingsIn(ran).max_steps, 7);
  });

  it("are read from configs/quickstart.yaml where no file is named", async () => {
    const shown = settingsIn(await capture(() => trainCommand(["--dry-run"])));
    assert.equal(shown.output_dir, "outputs/quickstart");
  });

  for (const command of ["train", "eval"] as const) {
    it(`of the cluster's script for ${command} are taken: a scorer's file, a model, one beta of several`, async () => {
      const args = await argumentsOf(`slurm/${command === "train" ? "run" : "eval"}.sh`, command);
      const run = command === "train" ? trainCommand : evalCommand;
      const ran = await capture(() => run([...args, "--dry-run"]));
      assert.equal(ran.code, 0, ran.error?.message);
      const { scorer_url, beta, model_name } = settingsIn(ran);
      assert.equal(scorer_url, "file:/jobs/scorer-7.url");
      if (command === "train") assert.equal(beta, 0.1);
      else assert.equal(model_name, "outputs/a-model");
    });
  }

  it("that are wrong stop a command before it writes anything, all of them named", async () => {
    for (const command of ["train", "eval"] as const) {
      const settings = { eval_jsonl: scratch("eval.jsonl"), top_p: 2, lerning_rate: 1, delta: 1 };
      const { error, batches, dir } = await runCommand(stage, command, settings);
      assert.match(`${error}`, /top_p must be a number > 0 and <= 1, got 2/);
      assert.match(`${error}`, /unknown key "lerning_rate"; did you mean "learning_rate"/);
      assert.match(`${error}`, /delta must be >= 1 \+ epsilon_high = 1\.2/);
      assert.deepEqual(batches, []);
      assert.ok(!existsSync(dir), "no folder");
    }
  });
});
