/** Settings on their way in: the file, --set, --beta and --seed, and --dry-run, which shows them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import { doctorCommand } from "../../src/cli/doctor/doctor.ts";
import { evalCommand } from "../../src/cli/eval.ts";
import { trainCommand } from "../../src/cli/train.ts";
import { writeScorerUrl } from "../../src/scorer/url.ts";
import { type Config, CONFIG_KEYS } from "../../src/config/schema.ts";
import { capture, closeStage, openStage, type Ran, runCommand, scratch, type Stage } from "./config_run.ts";
import { ROOT, startProgram } from "./program.ts";

/** What a script of slurm/ gives to the command: `srun` is replaced by a program that prints what it is given. */
async function argumentsOf(script: string, command: string, urlFile: string): Promise<string[]> {
  mkdirSync(scratch("bin"), { recursive: true });
  writeFileSync(scratch("bin/srun"), `#!/bin/sh\nprintf '%s\\n' "$@"\n`, { mode: 0o755 });
  const env = {
    ...process.env,
    PATH: `${scratch("bin")}:${process.env.PATH}`,
    SLURM_SUBMIT_DIR: ROOT,
    SLURM_ARRAY_TASK_ID: "2",
    SCORER_URL_FILE: urlFile,
    CONFIG: scratch("base.yaml"),
    MODEL: scratch("other_policy"),
  };
  const { stdout } = await promisify(execFile)("bash", [script], { cwd: ROOT, env });
  const words = stdout.trimEnd().split("\n");
  const start = words.indexOf("./scripts/start.mjs") + 1;
  assert.equal(words[start], command);
  return words.slice(start + 1);
}

const settingsIn = ({ output }: Pick<Ran, "output">): Config => parse(output);
/** The plan's lines, which are comments above the settings, by label. */
const planIn = ({ output }: Pick<Ran, "output">) =>
  Object.fromEntries([...output.matchAll(/^# (\S.*?) {2,}(.*)$/gm)].map(([, label, text]) => [label, text]));

describe("settings", () => {
  let stage: Stage;
  before(async () => void (stage = await openStage()));
  after(() => closeStage(stage));

  it("of the file hold where the command line says nothing, and the defaults where neither does", async () => {
    const shown = settingsIn(await runCommand(stage, "train", { epsilon: 0.125 }, ["--dry-run"]));
    assert.deepEqual([shown.epsilon, shown.learning_rate, shown.adam_beta1], [0.125, 0.01, 0.9]);
    assert.deepEqual(Object.keys(shown).sort(), [...CONFIG_KEYS].sort(), "every key is shown");
  });

  it("of --beta and --seed win over the file, and the last --set over those before it", async () => {
    const options = ["--beta", "0,0.5", "--seed", "3", "--set", "epsilon=0.25"];
    const given = { epsilon: 0.125 };
    const shown = settingsIn(await runCommand(stage, "train", given, [...options, "--dry-run"]));
    assert.deepEqual([shown.beta, shown.seed, shown.epsilon], [[0, 0.5], 3, 0.25]);
  });

  for (const command of ["train", "eval"] as const) {
    it(`and a plan are all that ${command} --dry-run prints: nothing is scored or written`, async () => {
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
      const urlFile = scratch("scorer-7.url");
      const args = await argumentsOf(`slurm/${command === "train" ? "run" : "eval"}.sh`, command, urlFile);
      const run = command === "train" ? trainCommand : evalCommand;
      const words = [...args, "--set", `eval_jsonl=${scratch("eval.jsonl")}`, "--dry-run"];
      const ran = await capture(() => run(words));
      assert.equal(ran.code, 0, ran.error?.message);
      const { scorer_url, beta, model_name } = settingsIn(ran);
      assert.equal(scorer_url, `file:${urlFile}`);
      if (command === "train") assert.equal(beta, 0.1);
      else assert.equal(model_name, scratch("other_policy"));
    });
  }

  it("of a job make a training that waits for the scorer's file, and then asks that scorer", async () => {
    const urlFile = scratch("scorer-8.url");
    const args = await argumentsOf("slurm/run.sh", "train", urlFile);
    const dir = scratch("job");
    stage.scorer.forget();
    const program = startProgram(["train", ...args, "--set", "max_steps=1", "--set", `output_dir=${dir}`]);
    await program.says(new RegExp(`Waiting for the scorer's address in ${urlFile} \\.\\.\\.`));
    assert.deepEqual(stage.scorer.batches, []);
    await writeScorerUrl(urlFile, stage.scorer.url);
    const { code, output } = await program.finished;
    assert.equal(code, 0, output);
    assert.ok(stage.scorer.batches.length > 0, "the scorer was asked");
    assert.ok(existsSync(join(dir, "beta0.1_seed42_unified/model.safetensors")));
  });

  describe("with --dry-run", () => {
    const dryRun = (settings: Record<string, unknown>, command: "train" | "eval" = "train") =>
      runCommand(stage, command, settings, ["--dry-run"]);

    it("are told with the steps, the epochs and how long the prompts are", async () => {
      const plan = planIn(
        await dryRun({ max_steps: 6, max_prompt_length: 60, eval_jsonl: scratch("eval.jsonl") }),
      );
      assert.equal(plan.steps, "6, of 8 completions = 2 prompts x 4");
      assert.equal(plan.epochs, "2 over 6 prompts");
      assert.match(
        plan["train prompts"],
        /^\d+ to 60 tokens, \d+\.\d on average; 1 of 6 cut to max_prompt_length 60$/,
      );
      assert.match(plan["eval prompts"], /^\d+ to \d+ tokens, .*; none cut/);
      const short = planIn(await dryRun({ max_steps: 6, max_prompt_length: 46 }));
      assert.equal(short["train prompts"], "46 tokens each; 6 of 6 cut to max_prompt_length 46");
      const long = planIn(await dryRun({ max_steps: 6 }));
      assert.match(long["train prompts"], /; none cut to max_prompt_length 100$/);
      const epochs = planIn(await dryRun({ max_steps: -1, num_train_epochs: 1.5 }));
      assert.deepEqual([epochs.steps, epochs.epochs], [
        "5, of 8 completions = 2 prompts x 4",
        "1.667 over 6 prompts",
      ]);
    });

    it("name every run's folder, and where the results of eval would lie", async () => {
      const runs = planIn(await dryRun({ beta: [0.1, 0.2], output_dir: scratch("sweep") })).runs;
      assert.deepEqual(runs.split(", ").map((folder) => basename(folder)), [
        "beta0.1_seed42_unified",
        "beta0.2_seed42_unified",
      ]);
      const { results } = planIn(
        await dryRun({ eval_jsonl: scratch("eval.jsonl"), output_dir: scratch("r") }, "eval"),
      );
      assert.equal(results, scratch("r"));
    });

    it("of eval are those that an evaluation reads: it needs no training prompts, and eval prompts it does", async () => {
      const settings = { train_jsonl: scratch("gone.jsonl"), eval_jsonl: scratch("eval.jsonl") };
      const plan = planIn(await dryRun(settings, "eval"));
      assert.match(plan["eval prompts"], /tokens/);
      assert.deepEqual([plan.train_jsonl, plan.steps], [undefined, undefined]);
      const none = await dryRun({ eval_jsonl: null }, "eval");
      assert.match(`${none.error}`, /eval_jsonl: there is nothing to evaluate, it is null; set it to a file/);
    });

    it("tell the command that plans the memory of just this run, with words that a shell would split in quotes", async () => {
      const plan = planIn(
        await dryRun({ max_steps: 6, system_prompt: null, output_dir: scratch("two words") }),
      );
      const command = plan["GPU memory"];
      assert.match(command, /^planned by: .*doctor .*--config .*--set max_steps=6 /);
      assert.match(command, /--set 'output_dir="?[^']*two words"?'/);
      assert.ok(!command.includes("--dry-run"), command);
    });

    it("say of every path that is not there what is missing, all at once", async () => {
      const { error, output } = await dryRun({
        model_name: scratch("no_model"),
        train_jsonl: scratch("no.jsonl"),
      });
      assert.match(`${error}`, /model_name: .*no_model.*\n.*train_jsonl: .*no\.jsonl/s);
      assert.equal(output, "");
      assert.match(
        `${(await dryRun({ scorer_url: `file:${scratch("no/url")}` })).error}`,
        /scorer_url: there is no folder/,
      );
      assert.match(
        `${(await dryRun({ output_dir: "/proc/x" })).error}`,
        /Cannot write into the folder '\/proc\/x'/,
      );
      writeFileSync(scratch("torn"), "no address\n");
      assert.match(
        `${(await dryRun({ scorer_url: `file:${scratch("torn")}` })).error}`,
        /scorer_url: .*need http/,
      );
    });

    it("take a scorer's file that is written later, and do not ask a scorer that is there", async () => {
      const waits = planIn(await dryRun({ scorer_url: `file:${scratch("later.url")}` }));
      assert.match(waits.scorer_url, /later\.url: not there yet; the run waits until a scorer writes it$/);
      const ran = await dryRun({});
      assert.match(planIn(ran).scorer_url, /: not asked$/);
      assert.deepEqual(ran.batches, []);
    });
  });

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
