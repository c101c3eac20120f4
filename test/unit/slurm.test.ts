/** slurm/: what the jobs start is what the program understands. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { readCommand } from "../../scripts/run_command.mjs";
import { configCommand, type ConfigOptions, readConfig } from "../../src/cli/options.ts";
import type { Config } from "../../src/config/schema.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { callsOf, NO_SHELL, writeStub } from "./stub_program.ts";
import { leftOut } from "../left_out.ts";

interface Job {
  code: number;
  stderr: string;
  /** What follows `npm run` in the job's last command; empty where it got no further. */
  words: string[];
}

/** Runs a job's script with these variables, where srun and npm write down what they are called for. */
async function runJob(script: string, variables: Record<string, string>): Promise<Job> {
  let job: Job = { code: -1, stderr: "", words: [] };
  await withScratchFolder(async (folder) => {
    for (const name of ["srun", "npm"]) writeStub(join(folder, name));
    const { PATH } = process.env;
    const { code, stderr } = await readCommand("bash", [join(ROOT, "slurm", script)], {
      env: { PATH: `${folder}:${PATH}`, ...variables },
    });
    const [call = ""] = [...callsOf(join(folder, "srun")), ...callsOf(join(folder, "npm"))];
    const [, command = ""] = call.split(/(?:^|npm )run /);
    job = { code, stderr, words: command.split(" ").filter((word) => word !== "--" && word !== "") };
  });
  return job;
}

async function configOf([task, ...args]: string[]): Promise<Config> {
  const command = configCommand(task, "").exitOverride();
  return await readConfig(command.parse(args, { from: "user" }).opts<ConfigOptions>());
}

const hasBash = existsSync("/bin/bash") || existsSync("/usr/bin/bash");
const SKIP = NO_SHELL || (!hasBash && "the jobs are scripts of bash");

describe("a Slurm job", { skip: leftOut("a Slurm job", SKIP) }, () => {
  it("trains with the beta of its place in the array, and waits for the scorer's address", async () => {
    const { code, stderr, words } = await runJob("run.sh", {
      SLURM_ARRAY_TASK_ID: "2",
      SEED: "7",
      SCORER_URL_FILE: "/shared/scorer.url",
    });
    assert.equal(code, 0, stderr);
    assert.equal(words[0], "train");
    const config = await configOf(words);
    assert.deepEqual([config.beta, config.seed, config.scorer_url], [0.1, 7, "file:/shared/scorer.url"]);
  });

  it("of a place behind the last beta says how many there are", async () => {
    const variables = { SLURM_ARRAY_TASK_ID: "7", SCORER_URL: "http://gpu-1:8000" };
    const { code, stderr, words } = await runJob("run.sh", variables);
    assert.equal(code, 1);
    assert.deepEqual(words, []);
    assert.match(
      stderr,
      /4 betas, task 7: need a task from 0 to 3; submit with --array=0-3, or add to BETA_VALUES/,
    );
  });

  it("takes an address that is given", async () => {
    const { words } = await runJob("run.sh", { SCORER_URL: "http://gpu-1:8000" });
    const config = await configOf(words);
    assert.deepEqual([config.beta, config.seed, config.scorer_url], [0.01, 42, "http://gpu-1:8000"]);
  });

  it("evaluates the model that is named", async () => {
    const variables = { MODEL: "out/run", SCORER_URL_FILE: "/shared/scorer.url" };
    const { words } = await runJob("eval.sh", variables);
    assert.equal(words[0], "eval");
    const config = await configOf(words);
    assert.deepEqual([config.model_name, config.scorer_url], ["out/run", "file:/shared/scorer.url"]);
  });

  it("serves the scorer where the others look for it, and the address of a job before is gone", () =>
    withScratchFolder(async (folder) => {
      const urlFile = join(folder, "jobs", "url");
      mkdirSync(dirname(urlFile));
      writeFileSync(urlFile, "http://old:1\n");
      const models = { REWARD_MODEL: "reward", COST_MODEL: "cost" };
      const { words } = await runJob("scorer.sh", { ...models, SCORER_URL_FILE: urlFile });
      const expected = `scorer --reward_model reward --cost_model cost --port 0 --url_file ${urlFile}`;
      assert.deepEqual(words, expected.split(" "));
      assert.equal(existsSync(urlFile), false);
      const source = readFileSync(join(ROOT, "src/cli/scorer.ts"), "utf8");
      const options = words.filter((word) => word.startsWith("--"));
      assert.deepEqual(options.filter((option) => !source.includes(`${option} <`)), []);
    }));

  it("without a scorer or a model says which variable to set", async () => {
    for (
      const [script, variable] of [
        ["run.sh", "SCORER_URL"],
        ["eval.sh", "MODEL"],
        ["scorer.sh", "REWARD_MODEL"],
      ]
    ) {
      const { code, stderr, words } = await runJob(script, {});
      assert.notEqual(code, 0);
      assert.deepEqual(words, []);
      assert.match(stderr, new RegExp(variable));
    }
  });
});
