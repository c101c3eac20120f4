/** Effects of the groups "Evaluation" and "Output and logging". */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { assertClose, assertMore, changesNothing, type Effect } from "./config_effect.ts";
import {
  checkpointsOf,
  configValue,
  evalRowsOf,
  namesIn,
  plannedBytes,
  rowsOf,
  runFolderOf,
  tableOf,
  weightsOf,
} from "./config_read.ts";
import { type Ran, scratch, type Settings } from "./config_run.ts";

const EVALUATED: Settings = { eval_jsonl: scratch("eval.jsonl") };

/** An evaluation after each of five steps, which reward says the best of. */
const JUDGED: Settings = { ...EVALUATED, max_steps: 5, eval_every: 1, learning_rate: 0.05 };
const BY_REWARD: Settings = { ...JUDGED, metric_for_best_model: "eval/mean_reward" };

const rewardsOf = (ran: Ran) => evalRowsOf(ran).map((row) => row["eval/mean_reward"]!);

/** Steps whose evaluation was better than all before, by this order. */
const recordsIn = (values: readonly number[], isBetter: (one: number, other: number) => boolean) =>
  values.flatMap((value, i) => values.slice(0, i).every((before) => isBetter(value, before)) ? [i + 1] : []);

const isMore = (one: number, other: number) => one > other;

const BEST: readonly Effect[] = [
  {
    key: "metric_for_best_model",
    value: "eval/mean_reward",
    seen: "each evaluation that is better than those before has its checkpoint",
    given: JUDGED,
    check(changed, without) {
      assert.deepEqual(checkpointsOf(changed), [...new Set([...recordsIn(rewardsOf(changed), isMore), 5])]);
      assert.deepEqual(checkpointsOf(without), [5]);
      assert.match(changed.output, /^best step +the most eval\/mean_reward; its checkpoint is kept$/m);
      assert.match(changed.output, /^best +eval\/mean_reward \S+ after step \d$/m);
    },
  },
  {
    key: "greater_is_better",
    value: false,
    seen: "the evaluations with less of the metric are kept",
    given: BY_REWARD,
    check(changed) {
      const records = recordsIn(rewardsOf(changed), (one, other) => one < other);
      assert.deepEqual(checkpointsOf(changed), [...new Set([...records, 5])]);
    },
  },
  {
    key: "load_best_model_at_end",
    value: true,
    seen: "the final weights are those of the best step, and not of the last",
    given: BY_REWARD,
    check(changed, without) {
      const bytesOf = (ran: Ran, folder: string) =>
        readFileSync(join(runFolderOf(ran), folder, "model.safetensors"));
      const best = recordsIn(rewardsOf(changed), isMore).at(-1)!;
      assert.notEqual(best, 5);
      assert.ok(bytesOf(changed, "").equals(bytesOf(changed, `checkpoint-${best}`)));
      assert.ok(bytesOf(without, "").equals(bytesOf(without, "checkpoint-5")));
    },
  },
  {
    key: "early_stopping_patience",
    value: 1,
    seen: "the run ends, finished, at the first evaluation that is no better",
    given: BY_REWARD,
    check(changed, without) {
      const records = recordsIn(rewardsOf(without), isMore);
      const end = [2, 3, 4, 5].find((step) => !records.includes(step))!;
      assert.ok(end < 5, `ends at ${end}`);
      assert.deepEqual([changed, without].map((ran) => rowsOf(ran).length), [end, 5]);
      assert.match(changed.output, /^Ended early: the last 1 evaluations were no improvement/m);
      assert.ok(weightsOf(changed).size > 0, "final weights are written");
    },
  },
  {
    key: "early_stopping_threshold",
    value: 1000,
    seen: "no evaluation is better by so much: with a patience of two the third ends the run",
    given: { ...BY_REWARD, early_stopping_patience: 2 },
    check: (changed) => assert.equal(rowsOf(changed).length, 3),
  },
];

const EVALUATION: readonly Effect[] = [
  ...BEST,
  {
    key: "eval_every",
    value: 2,
    seen: "the policy is evaluated after steps 2 and 4, and after the last",
    given: { ...EVALUATED, max_steps: 5 },
    check(changed, without) {
      assert.deepEqual(evalRowsOf(changed).map(({ step }) => step), [2, 4, 5]);
      assert.deepEqual(evalRowsOf(without).map(({ step }) => step), [5]);
      for (const row of evalRowsOf(changed)) {
        const lambda = rowsOf(changed)[row.step - 1]["lambda/value"]!;
        const combined = row["eval/mean_reward"]! - lambda * row["eval/mean_cost"]!;
        assertClose(row["eval/mean_combined"], combined, 1e-9, "with the lambda of its step, combined"); // doubles
      }
      assertMore(rowsOf(changed)[4]["lambda/value"]!, rowsOf(changed)[0]["lambda/value"]!);
    },
  },
  {
    key: "eval_on_start",
    value: true,
    seen: "the policy is evaluated before the first step too, with lambda_cost",
    given: { ...EVALUATED, lambda_cost: 0.5 },
    check(changed, without) {
      assert.deepEqual(evalRowsOf(changed).map(({ step }) => step), [0, 2]);
      assert.deepEqual(evalRowsOf(without).map(({ step }) => step), [2]);
      const [before] = evalRowsOf(changed);
      assert.equal(before["eval/lambda"], 0.5);
      const combined = before["eval/mean_reward"]! - 0.5 * before["eval/mean_cost"]!;
      assertClose(before["eval/mean_combined"], combined, 1e-9, "combined"); // doubles
      assert.deepEqual(evalRowsOf(changed)[1], evalRowsOf(without)[0], "training does not change");
    },
  },
  {
    key: "eval_batch_size",
    value: 2,
    seen: "prompts are generated for two at a time",
    given: EVALUATED,
    command: "eval",
    check(changed, without) {
      const progress = ({ output }: Ran) => output.match(/^generated .*$/gm);
      assert.deepEqual(progress(changed), ["generated 2/5", "generated 4/5", "generated 5/5"]);
      assert.deepEqual(progress(without), ["generated 5/5"]);
    },
  },
  {
    key: "per_device_eval_batch_size",
    value: 1,
    seen: "nothing changes: eval_batch_size decides",
    given: EVALUATED,
    check(changed, without) {
      changesNothing(changed, without);
      assert.equal(plannedBytes(changed), plannedBytes(without));
    },
  },
  {
    key: "eval_table_n_samples",
    value: 2,
    seen: "the evaluation's table has two rows",
    given: EVALUATED,
    check(changed, without) {
      assert.deepEqual([changed, without].map((ran) => tableOf(ran, "eval", 2).length), [2, 5]);
    },
  },
];

const FOLDERS: readonly Effect[] = [
  {
    key: "output_dir",
    value: scratch("elsewhere"),
    seen: "the run's folder is in it",
    check: () => assert.deepEqual(readdirSync(scratch("elsewhere")), ["beta0.1_seed42_unified"]),
  },
  {
    key: "report_to",
    value: ["wandb"],
    seen: "the run has a file of W&B's, and none of TensorBoard's",
    check(changed, without) {
      changesNothing(changed, without);
      const copies = (ran: Ran) =>
        ["runs", "wandb"].filter((name) => existsSync(join(runFolderOf(ran), name)));
      assert.deepEqual([changed, without].map(copies), [["wandb"], ["runs"]]);
      assert.match(
        changed.output,
        /^W&B has this run when it is uploaded: wandb beta sync ".*offline-run-.*"$/m,
      );
    },
  },
  ...(["run_name", "project", "entity"] as const).map((key): Effect => ({
    key,
    value: "a-name",
    given: { report_to: ["wandb"] },
    seen: "nothing changes; run_config.json, the report and W&B's file have it",
    check(changed, without) {
      changesNothing(changed, without);
      assert.equal(configValue(changed, key), "a-name");
      const wandb = join(runFolderOf(changed), "wandb");
      const folder = join(wandb, readdirSync(wandb).find((name) => name.startsWith("offline-run-"))!);
      const file = readFileSync(join(folder, readdirSync(folder).find((name) => name.endsWith(".wandb"))!));
      assert.ok(file.toString("latin1").includes(`\x06a-name`), "as a field of its own");
      const report = readFileSync(join(runFolderOf(changed), "report.html"), "utf8");
      assert.match(report, new RegExp(`${key}[^]{0,40}a-name`));
    },
  })),
  {
    key: "resume",
    value: false,
    seen: "a run that was there before is kept aside, and the steps are done once more",
    continues: true,
    check(changed, without) {
      assert.deepEqual(readdirSync(changed.dir).sort(), [
        "beta0.1_seed42_unified",
        "beta0.1_seed42_unified.old-1",
      ]);
      assert.equal(changed.batches.length, 2);
      assert.deepEqual(readdirSync(without.dir), ["beta0.1_seed42_unified"]);
      assert.match(without.output, /Nothing left to do/);
      assert.deepEqual(without.batches, []);
    },
  },
  {
    key: "check_ranks_every",
    value: 1,
    seen: "nothing changes with one rank; test/gpu/training_ranks.test.ts has two",
    given: {},
    check: changesNothing,
  },
  {
    key: "save_steps",
    value: 2,
    seen: "there is a checkpoint of every second step, and of the last",
    given: { max_steps: 5 },
    check: (changed, without) => {
      assert.deepEqual([checkpointsOf(changed), checkpointsOf(without)], [[2, 4, 5], [5]]);
    },
  },
  {
    key: "save_total_limit",
    value: 2,
    seen: "the two newest checkpoints are kept",
    given: { max_steps: 4, save_steps: 1 },
    check: (changed, without) => {
      assert.deepEqual([checkpointsOf(changed), checkpointsOf(without)], [[3, 4], [1, 2, 3, 4]]);
    },
  },
];

/** How often a word stands in the TensorBoard event file. */
function countInEvents(ran: Ran, word: string): number {
  const names = namesIn(ran, "runs", /tfevents/);
  const text = names.map((name) => readFileSync(join(runFolderOf(ran), "runs", name), "latin1")).join("");
  return text.split(word).length - 1;
}

const stepLines = ({ output }: Ran): number[] =>
  [...output.matchAll(/^step +(\d+)\/\d+ /gm)].map(([, step]) => Number(step));

const scatterOf = (ran: Ran, step: number) =>
  JSON.parse(readFileSync(join(runFolderOf(ran), "samples", `train_scatter_${step}.json`), "utf8"));

const LOGGING: readonly Effect[] = [
  {
    key: "logging_steps",
    value: 2,
    seen: "a line is printed of every second step, the first and the last",
    given: { max_steps: 5 },
    check: (changed, without) => {
      assert.deepEqual([stepLines(changed), stepLines(without)], [[1, 2, 4, 5], [1, 5]]);
    },
  },
  {
    key: "scatter_every",
    value: 2,
    seen: "the points of two steps are written at a time",
    given: { max_steps: 4 },
    check(changed, without) {
      assert.deepEqual(namesIn(changed, "samples", /scatter/), [
        "train_scatter_2.json",
        "train_scatter_4.json",
      ]);
      assert.equal(scatterOf(changed, 4).from_step, 3);
      assert.equal(scatterOf(changed, 4).rewards.length, 16);
      assert.deepEqual(namesIn(without, "samples", /scatter/), []);
    },
  },
  {
    key: "scatter_max_points",
    value: 5,
    seen: "of sixteen points every fourth is kept",
    given: { scatter_every: 2 },
    check(changed, without) {
      const kept = scatterOf(without, 2).rewards.filter((_: number, i: number) => i % 4 === 0);
      assert.deepEqual(scatterOf(changed, 2).rewards, kept);
      assert.equal(scatterOf(changed, 2).total, 16);
    },
  },
  {
    key: "log_completions",
    value: "all",
    seen: "each of a step's completions is kept, and nothing else changes",
    check(changed, without) {
      changesNothing(changed, without);
      assert.deepEqual([changed, without].map((ran) => existsSync(join(runFolderOf(ran), "rollouts"))), [
        true,
        false,
      ]);
      const kept = gunzipSync(readFileSync(join(runFolderOf(changed), "rollouts", "1.jsonl.gz"))).toString();
      const rows = kept.trim().split("\n").map((line) => JSON.parse(line));
      const { prompt, completion, reward } = tableOf(changed, "train", 1)[0];
      assert.deepEqual([rows.length, rows[0].prompt, rows[0].completion, rows[0].reward], [
        8,
        prompt,
        completion,
        reward,
      ]);
      assert.equal(rows[0].logprobs.length, rows[0].completion_ids.length);
    },
  },
  {
    key: "tensorboard_names",
    value: "hf",
    seen: "TensorBoard has train/loss in the place of loss",
    check(changed, without) {
      changesNothing(changed, without);
      assert.deepEqual([changed, without].map((ran) => countInEvents(ran, "train/loss")), [2, 0]);
    },
  },
  {
    key: "hist_every",
    value: 2,
    seen: "TensorBoard gets histograms of reward and cost at every second step",
    given: { max_steps: 4 },
    check(changed, without) {
      for (const tag of ["helpfulness/dist", "cost/dist"]) {
        assert.deepEqual([changed, without].map((ran) => countInEvents(ran, tag)), [2, 0], tag);
      }
    },
  },
  {
    key: "debug_log_every",
    value: 2,
    seen: "there is a table of every second step",
    given: { max_steps: 4 },
    check(changed, without) {
      assert.deepEqual(namesIn(changed, "samples", /jsonl/), ["train_2.jsonl", "train_4.jsonl"]);
      assert.equal(namesIn(without, "samples", /jsonl/).length, 4);
    },
  },
  {
    key: "debug_log_n_samples",
    value: 3,
    seen: "a table has three rows",
    check(changed, without) {
      assert.deepEqual([changed, without].map((ran) => tableOf(ran, "train", 1).length), [3, 8]);
    },
  },
  {
    key: "debug_print_first",
    value: true,
    seen: "the first prompt and its completion are printed, once",
    check(changed, without) {
      const { prompt, completion } = tableOf(changed, "train", 1)[0];
      const text = `first prompt and completion\n  prompt\n  | ${prompt}\n  completion\n  | ${completion}\n`;
      assert.equal(changed.output.split(text).length, 2);
      assert.doesNotMatch(without.output, /first prompt/);
    },
  },
  {
    key: "debug_print_samples_per_batch",
    value: 2,
    seen: "two samples of each step are printed",
    check(changed, without) {
      const titles = ({ output }: Ran) => output.match(/^sample \d of \d$/gm);
      assert.deepEqual(titles(changed), ["sample 1 of 2", "sample 2 of 2", "sample 1 of 2", "sample 2 of 2"]);
      assert.equal(titles(without), null);
    },
  },
  {
    key: "debug_print_sample_chars",
    value: 5,
    seen: "a longer prompt is printed to its fifth character",
    given: { debug_print_samples_per_batch: 8 },
    check(changed, without) {
      const printed = ({ output }: Ran, texts: string[]) => texts.map((text) => output.includes(text));
      const { prompt } = tableOf(changed, "train", 1).find((row) => row.prompt.length > 8)!;
      assert.deepEqual(printed(without, [prompt]), [true]);
      assert.deepEqual(printed(changed, [prompt.slice(0, 5), prompt.slice(0, 6)]), [true, false]);
    },
  },
];

export const OUTPUT_EFFECTS: readonly Effect[] = [...EVALUATION, ...FOLDERS, ...LOGGING];
