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

  it("trains a policy for each beta of the array, and waits for the scorer of another job", async () => {
    const { config, runDir } = runs.config("sweep");
    const variables = { CONFIG: config, SCORER_URL_FILE: scorerFile };
    const job = await runs.submit("run.sh", ["--array=0-1", ...ONE_RANK], variables);
    for (const task of [0, 1]) await runs.completes({ ...job, id: `${job.id}_${task}` }, 90);
    whole = weightsOf(runDir);
    assert.ok(!weightsOf(join(cluster.folder, "sweep", "beta0.05_seed42_unified")).equals(whole));
    assert.match(runs.said(job.log), /scorer +file:.*scorer\.url/);
  });

  it("that another preempts saves the step that it is in, and goes on from there", async () => {
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
    const { Restarts } = await runs.completes(job, 90);
    assert.equal(Restarts, "1");
    const [saved] = checkpointSteps(runDir);
    assert.deepEqual(resumedSteps(runs.said(job.log)), [String(saved + 1)], runs.said(job.log));
    assertAsWhole(runDir);
  });

  it("whose time is nearly up saves, exits with 85 and goes on from there in the queue's next turn", async () => {
    const { config, runDir } = runs.config("timed");
    const job = await train(config, ONE_RANK);
    await runs.reaches(runDir, 1, job);
    const [pid] = rankProcesses(job.id);
    process.kill(pid, "SIGSTOP"); // Slurm looks at the clock every 30 seconds
    await cluster.command("scontrol", "update", `JobId=${job.id}`, "TimeLimit=5");
    await cluster.waitUntil("the job is in the queue again", 75, async () => {
      if (isPending(pid, constants.signals.SIGUSR1)) process.kill(pid, "SIGCONT");
      return (await cluster.job(job.id)).Restarts === "1";
    });
    await cluster.command("scontrol", "update", `JobId=${job.id}`, "TimeLimit=60");
    await runs.completes(job, 60);
    const [saved] = checkpointSteps(runDir);
    assert.deepEqual(resumedSteps(runs.said(job.log)), [String(saved + 1)], runs.said(job.log));
    assert.match(
      runs.said(job.log),
      /slurm: train has saved and asks to be started again; job \d+ goes back/,
    );
    assertAsWhole(runDir);
  });

  it("whose node is lost starts on another, from its last checkpoint", async () => {
    const { config, runDir } = runs.config("lost", { save_steps: 2 });
    const job = await train(config, ["--nodelist=n1", ...ONE_RANK].slice(1));
    await runs.reaches(runDir, 3, job);
    await cluster.loseNode((await cluster.job(job.id)).BatchHost as "n1");
    assert.deepEqual(finalFiles(runDir), []);
    await runs.completes(job, 120);
    assert.deepEqual(resumedSteps(runs.said(job.log)).length, 1);
    assertAsWhole(runDir);
    await cluster.startNode("n1");
  });

  it("evaluates what another has trained", async () => {
    const { runDir } = runs.config("sweep");
    const { config } = runs.config("evaluated", { eval_jsonl: "models/quickstart/eval_prompts.jsonl" });
    const variables = { MODEL: runDir, CONFIG: config, SCORER_URL_FILE: scorerFile };
    const job = await runs.submit("eval.sh", ["--cpus-per-task=1"], variables);
    await runs.completes(job, 60);
    assert.ok(existsSync(join(runDir, "eval", "eval.json")), runs.said(job.log));
  });
});
