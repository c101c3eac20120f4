/** slurm/ on a real Slurm: what a cluster does to a job costs no step and changes no bit. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { checkpointSteps, finalFiles, metricRows } from "../e2e/program.ts";
import { leftOut } from "../left_out.ts";
import { lacksSlurm, type SlurmCluster, startSlurm } from "./slurm_cluster.ts";
import {
  type ClusterRuns,
  clusterRuns,
  isPending,
  ONE_RANK,
  rankProcesses,
  resumedSteps,
  RUN,
  STEPS,
} from "./slurm_runs.ts";

const SKIP = leftOut("slurm/ on a real cluster", lacksSlurm());

describe("a job of slurm/", { skip: SKIP }, () => {
  let cluster: SlurmCluster;
  let runs: ClusterRuns;
  let scorerFile: string;
  /** The weights of a run that nothing interrupts. */
  let whole: Buffer;

  before(async () => {
    cluster = await startSlurm();
    runs = clusterRuns(cluster);
    scorerFile = join(cluster.folder, "scorer.url");
    const models = { REWARD_MODEL: "models/quickstart/reward", COST_MODEL: "models/quickstart/cost" };
    await runs.submit("scorer.sh", ["--nodelist=n2", "--cpus-per-task=1"], {
      ...models,
      SCORER_URL_FILE: scorerFile,
    });
  });
  after(() => cluster?.close());

  /** Submits run.sh for one beta. */
  const train = (config: string, words: readonly string[]) =>
    runs.submit("run.sh", ["--array=0", ...words], { CONFIG: config, SCORER_URL_FILE: scorerFile });
  const weightsOf = (runDir: string) => readFileSync(join(runDir, "model.safetensors"));

  function assertAsWhole(runDir: string): void {
    assert.deepEqual(
      metricRows(runDir).map(({ step }) => step),
      Array.from({ length: STEPS }, (_, i) => i + 1),
    );
    assert.ok(weightsOf(runDir).equals(whole), "the weights are those of a run that nothing interrupts");
  }

  /** It was started twice; the second time it began behind the step that it saved when it was asked to end. */
  function assertWentOn(runDir: string, log: string): void {
    const [saved] = checkpointSteps(runDir);
    assert.deepEqual(resumedSteps(runs.said(log)), [String(saved + 1)], runs.said(log));
    assertAsWhole(runDir);
  }

  it("trains a policy for each beta of the array, and waits for the scorer of another job", async () => {
    const { config, runDir } = runs.config("sweep");
    const variables = { CONFIG: config, SCORER_URL_FILE: scorerFile };
    const job = await runs.submit("run.sh", ["--array=0-1", ...ONE_RANK], variables);
    for (const task of [0, 1]) await runs.completes({ ...job, id: `${job.id}_${task}` }, 120);
    whole = weightsOf(runDir);
    assert.ok(!weightsOf(join(cluster.folder, "sweep", "beta0.05_seed42_unified")).equals(whole));
    assert.match(runs.said(job.log), /scorer +file:.*scorer\.url/);
  });

  it("evaluates what another has trained", async () => {
    const runDir = join(cluster.folder, "sweep", RUN);
    const { config } = runs.config("evaluated", { eval_jsonl: "models/quickstart/eval_prompts.jsonl" });
    const variables = { MODEL: runDir, CONFIG: config, SCORER_URL_FILE: scorerFile };
    const job = await runs.submit("eval.sh", ["--cpus-per-task=1"], variables);
    await runs.completes(job, 120);
    assert.ok(existsSync(join(runDir, "eval", "eval.json")), runs.said(job.log));
  });

  it("trains as one on ranks of two nodes, which find each other", async () => {
    const { config, runDir } = runs.config("two", { per_device_train_batch_size: 32 });
    const job = await train(config, ["--nodes=2", ...ONE_RANK]);
    await runs.completes(job, 240);
    assert.match(runs.said(job.log), /^batch +32 completions x 1 .* x 2 devices = 64 completions/m);
    const lambdas = (folder: string) => metricRows(folder).map((row) => row["lambda/value"]);
    assert.deepEqual(lambdas(runDir), lambdas(join(cluster.folder, "sweep", RUN)));
  });

  // Side by side, since they wait for Slurm's clocks.
  describe("goes on", { concurrency: true }, () => {
    it("from the step that it was in when another preempted it", async () => {
      const { config, runDir } = runs.config("preempted");
      const job = await train(config, ["--nodelist=n1", ...ONE_RANK]);
      await runs.reaches(runDir, 1, job);
      await cluster.submit([
        "--partition=urgent",
        "--exclusive",
        "--nodelist=n1",
        "--output=/dev/null",
        "--wrap=true",
      ]);
      const { Restarts } = await runs.completes(job, 240);
      assert.equal(Restarts, "1");
      assertWentOn(runDir, job.log);
    });

    it("from the step that it was in when its time was nearly up, by exit code 85", async () => {
      const { config, runDir } = runs.config("timed");
      const job = await train(config, ["--nodelist=n2", ...ONE_RANK]);
      await runs.reaches(runDir, 1, job);
      const [pid] = rankProcesses(job.id);
      process.kill(pid, "SIGSTOP"); // Slurm looks at its clock every 30 seconds
      await cluster.command("scontrol", "update", `JobId=${job.id}`, "TimeLimit=5");
      await cluster.waitUntil("the job is in the queue again", 75, async () => {
        if (isPending(pid, constants.signals.SIGUSR1)) process.kill(pid, "SIGCONT");
        return (await cluster.job(job.id)).Restarts === "1";
      });
      await cluster.command("scontrol", "update", `JobId=${job.id}`, "TimeLimit=60");
      await runs.completes(job, 240);
      assert.match(
        runs.said(job.log),
        /slurm: train has saved and asks to be started again; job \d+ goes back/,
      );
      assertWentOn(runDir, job.log);
    });

    it("from its last checkpoint, on another node, when its own was lost", async () => {
      const { config, runDir } = runs.config("lost", { save_steps: 2 });
      const job = await train(config, ["--exclude=n1", ...ONE_RANK]); // n3, and then n2
      await runs.reaches(runDir, 3, job);
      await cluster.loseNode("n3");
      assert.deepEqual(finalFiles(runDir), []);
      await runs.completes(job, 240);
      assert.match(runs.said(job.log), /^steps +\d+ to 8 \(resumed\)$/m);
      assertAsWhole(runDir);
    });
  });
});
