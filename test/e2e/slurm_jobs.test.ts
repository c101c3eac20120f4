/** slurm/ from end to end, with a program in srun's place that starts what it is given. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { parse, stringify } from "yaml";
import { scorerUrlsAt, waitForScorers } from "../../src/scorer/url.ts";
import { leftOut } from "../left_out.ts";
import { NO_BASH } from "../unit/slurm_job_run.ts";
import { callsOf, writeStub } from "../unit/stub_program.ts";
import { inScratchFolder, metricRows, ROOT } from "./program.ts";

const SRUN = 'while [ "${1#--}" != "$1" ]; do shift; done; echo $$ > "$0.pid"; exec "$@"';
const RUN = "beta0.01_seed42_unified";

it(
  "the jobs train and evaluate with the scorer of another, which they find with its token, and that goes back to the queue",
  {
    skip: leftOut("jobs from end to end", NO_BASH),
  },
  () =>
    inScratchFolder(async (folder) => {
      const urlFile = join(folder, "scorer.url");
      const start = (script: string, variables: Record<string, string>) => {
        const programs = join(folder, script);
        writeStub(join(programs, "srun"), SRUN);
        writeStub(join(programs, "scontrol"));
        const { SCORER_TOKEN: _, ...environment } = process.env;
        const job = spawn("bash", [join(ROOT, "slurm", script)], {
          cwd: ROOT,
          stdio: ["ignore", "pipe", "pipe"],
          env: {
            ...environment,
            PATH: `${programs}:${environment.PATH}`,
            SLURM_JOB_ID: "71",
            GRPO_WEBGPU_RUNTIME: process.execPath,
            SCORER_URL_FILE: urlFile,
            ...variables,
          },
        });
        let said = "";
        for (const stream of [job.stdout, job.stderr]) {
          stream.setEncoding("utf8").on("data", (text) => said += text);
        }
        const ended = new Promise<number | null>((resolve) => job.on("close", resolve));
        return {
          said: () => said,
          /** Sends the program a signal, as Slurm does to a job's steps. */
          signal: (name: NodeJS.Signals) =>
            process.kill(Number(readFileSync(join(programs, "srun.pid"), "utf8")), name),
          requeued: () => callsOf(join(programs, "scontrol")),
          async succeeds() {
            assert.equal(await ended, 0, said);
          },
        };
      };

      const models = { REWARD_MODEL: "models/quickstart/reward", COST_MODEL: "models/quickstart/cost" };
      const scorer = start("scorer.sh", models);
      const waiting = { timeoutMs: 120_000, pollMs: 50 };
      const [url] = await waitForScorers([urlFile], () => scorerUrlsAt(`file:${urlFile}`), waiting)
        .catch((error: Error) => assert.fail(`${error.message}\n${scorer.said()}`));
      try {
        assert.equal(statSync(`${urlFile}.token`).mode & 0o777, 0o600);
        const body = JSON.stringify({ texts: ["a"] });
        const stranger = await fetch(`${url}/score_texts`, { method: "POST", body });
        assert.equal(stranger.status, 401);

        const evalRows = readFileSync(join(ROOT, "models/quickstart/eval_prompts.jsonl"), "utf8").split("\n");
        writeFileSync(join(folder, "eval.jsonl"), `${evalRows.slice(0, 2).join("\n")}\n`);
        const configOf = (name: string, evalFile: string | null) => {
          const path = join(folder, name);
          const quickstart = parse(readFileSync(join(ROOT, "configs/quickstart.yaml"), "utf8"));
          const small = {
            num_generations: 2,
            per_device_train_batch_size: 4,
            max_completion_length: 4,
            max_steps: 1,
          };
          writeFileSync(
            path,
            stringify({ ...quickstart, ...small, eval_jsonl: evalFile, output_dir: folder }),
          );
          return path;
        };
        const training = start("run.sh", { CONFIG: configOf("train.yaml", null) });
        await training.succeeds();
        const runDir = join(folder, RUN);
        assert.deepEqual(metricRows(runDir).map(({ step }) => step), [1], training.said());
        const evaluation = start("eval.sh", {
          CONFIG: configOf("eval.yaml", join(folder, "eval.jsonl")),
          MODEL: runDir,
        });
        await evaluation.succeeds();
        const judged = readFileSync(join(runDir, "eval", "eval.json"), "utf8");
        assert.equal(JSON.parse(judged).total, 2, judged);
      } finally {
        scorer.signal("SIGUSR1");
      }
      await scorer.succeeds();
      assert.deepEqual(scorer.requeued(), ["requeue 71"]);
    }),
);
