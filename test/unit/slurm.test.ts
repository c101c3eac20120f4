/** slurm/: what the jobs start is what the program understands. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { configOf, NO_BASH, runJob } from "./slurm_job_run.ts";
import { ROOT } from "./source_files.ts";

const SCORER = { SCORER_URL: "http://gpu-1:8000" };

describe("a Slurm job", { skip: leftOut("a Slurm job", NO_BASH) }, () => {
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

  const MODELS = { REWARD_MODEL: "reward", COST_MODEL: "cost" };

  it("serves the scorer where the others look for it, and the address of a job before is gone", () =>
    withScratchFolder(async (folder) => {
      const urlFile = join(folder, "jobs", "url");
      mkdirSync(dirname(urlFile));
      writeFileSync(urlFile, "http://old:1\n");
      const { words } = await runJob("scorer.sh", { ...MODELS, SCORER_URL_FILE: urlFile });
      const served = "scorer --reward_model reward --cost_model cost --host 0.0.0.0 --port 0";
      const expected = `${served} --url_file ${urlFile} --token_file ${urlFile}.token`;
      assert.deepEqual(words, expected.split(" "));
      assert.equal(existsSync(urlFile), false);
      const source = readFileSync(join(ROOT, "src/cli/scorer.ts"), "utf8");
      const options = words.filter((word) => word.startsWith("--"));
      assert.deepEqual(options.filter((option) => !source.includes(`${option} <`)), []);
    }));

  it("gives its scorer a token that nobody else can read, and that trainings know after a requeue", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "jobs", "url.token");
      const tokenAfter = async (variables: Record<string, string> = {}) => {
        const scorer = { ...MODELS, SCORER_URL_FILE: join(folder, "jobs", "url"), ...variables };
        const { code, stderr } = await runJob("scorer.sh", scorer);
        assert.equal(code, 0, stderr);
        assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.deepEqual(readdirSync(dirname(file)), ["url.token"]);
        return readFileSync(file, "utf8");
      };
      const first = await tokenAfter();
      assert.match(first, /^[0-9a-f]{64}\n$/);
      chmodSync(file, 0o644);
      assert.equal(await tokenAfter(), first);
      assert.equal(await tokenAfter({ SCORER_TOKEN: "of-ones-own" }), "of-ones-own\n");
      rmSync(file);
      assert.notEqual(await tokenAfter(), first);
      rmSync(file);
      symlinkSync(join(folder, "another"), file);
      const linked = await runJob("scorer.sh", { ...MODELS, SCORER_URL_FILE: join(folder, "jobs", "url") });
      assert.deepEqual([linked.code, linked.words], [1, []]);
      assert.match(linked.stderr, /url\.token is not a file of your own/);
    }));

  it("starts its ranks by srun, which ends all where one ends badly, once the packages are there", async () => {
    const { calls } = await runJob("run.sh", { ...SCORER, SLURM_CPUS_PER_TASK: "3" });
    assert.deepEqual(calls.node, ["./scripts/start.mjs train --help"]);
    assert.equal(calls.srun.length, 1);
    assert.match(
      calls.srun[0],
      /^--kill-on-bad-exit=1 --cpus-per-task=3 node \.\/scripts\/start\.mjs train /,
    );
  });

  it("shares the reference run's step out over its ranks, and leaves a config of one's own as it is", async () => {
    const settings = async (variables: Record<string, string>) => {
      const { words } = await runJob("run.sh", { ...SCORER, ...variables });
      return words.filter((word) => word.startsWith("gradient_accumulation_steps="));
    };
    assert.deepEqual(await settings({}), ["gradient_accumulation_steps=60"]);
    assert.deepEqual(await settings({ SLURM_NTASKS: "4" }), ["gradient_accumulation_steps=15"]);
    assert.deepEqual(await settings({ SLURM_NTASKS: "4", CONFIG: "own.yaml" }), []);
  });

  it("asks several scorers, whose addresses come in several files", async () => {
    const { words } = await runJob("run.sh", { SCORER_URL_FILE: "/shared/a.url,/shared/b.url" });
    assert.equal((await configOf(words)).scorer_url, "file:/shared/a.url,file:/shared/b.url");
  });

  it("lets ranks find each other as the MPI that is there asks Slurm, where there are several", async () => {
    const typeWith = async (mpirun: string, variables: Record<string, string> = {}) => {
      const srun = 'echo "$SLURM_MPI_TYPE" >&2';
      const ranks = { ...SCORER, SLURM_NTASKS: "2", ...variables };
      const { stderr } = await runJob("run.sh", ranks, { srun, mpirun: `echo "${mpirun}"` });
      return stderr.trim();
    };
    const openMpi = "mpirun (Open MPI) 4.1.4";
    assert.equal(await typeWith(openMpi), "pmix");
    assert.equal(await typeWith("HYDRA build details:"), "pmi2");
    assert.equal(await typeWith(openMpi, { SLURM_MPI_TYPE: "pmix_v4" }), "pmix_v4");
    assert.equal(await typeWith(openMpi, { SLURM_NTASKS: "1" }), "");
    assert.equal(await typeWith(""), "");
  });

  it("that has saved before its time is up goes back to the queue, and one that failed does not", async () => {
    const saved = await runJob("run.sh", SCORER, { srun: "exit 85" });
    assert.deepEqual([saved.code, saved.calls.scontrol], [0, ["requeue 71"]]);
    const failed = await runJob("run.sh", SCORER, { srun: "exit 1" });
    assert.deepEqual([failed.code, failed.calls.scontrol], [1, []]);
  });

  it("that no scorer answered goes back to the queue, three times at most", async () => {
    const restarted = (count: string) =>
      runJob("run.sh", { ...SCORER, SLURM_RESTART_COUNT: count }, { srun: "exit 75" });
    const [first, last] = [await restarted("2"), await restarted("3")];
    assert.deepEqual([first.code, first.calls.scontrol], [0, ["requeue 71"]]);
    assert.deepEqual([last.code, last.calls.scontrol], [75, []]);
  });

  it("of several nodes goes back to the queue where one of them no longer answers", async () => {
    const nodes = { ...SCORER, SLURM_JOB_NUM_NODES: "2", SLURM_NTASKS: "2" };
    const lost = await runJob("run.sh", nodes, { srun: "exit 1" });
    assert.deepEqual([lost.code, lost.calls.scontrol], [0, ["requeue 71"]]);
    const failed = await runJob("run.sh", nodes, { srun: 'case "$*" in *--overlap*) ;; *) exit 1 ;; esac' });
    assert.deepEqual([failed.code, failed.calls.scontrol], [1, []]);
  });

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
