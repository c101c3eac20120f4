/** The eval command: what it asks of the scorer, what it prints, and the files that it writes. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { evalCommand } from "../../src/cli/eval.ts";
import { closeGpu } from "../../src/gpu/device.ts";
import { exactInterval } from "../../src/rl/binomial.ts";
import { evalRowsOf, lastOf, runFolderOf } from "./config_read.ts";
import {
  capture,
  closeStage,
  EVAL_PROMPTS,
  openStage,
  type Ran,
  runCommand,
  scratch,
  type Settings,
  type Stage,
} from "./config_run.ts";
import { costOf, rewardOf } from "./config_scorer.ts";

interface EvalSample {
  prompt: string;
  completion: string;
  reward: number;
  cost: number;
}

const samplesIn = (folder: string): EvalSample[] =>
  readFileSync(join(folder, "eval_samples.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));

const mean = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;

describe("eval", () => {
  let stage: Stage;
  let whole: Ran;
  const evaluate = async (settings: Settings, options?: string[]): Promise<Ran> => {
    const all = { eval_jsonl: scratch("eval.jsonl"), max_completion_length: 12, ...settings };
    const ran = await runCommand(stage, "eval", all, options);
    if (ran.error) throw ran.error;
    return ran;
  };

  before(async () => {
    stage = await openStage();
    whole = await evaluate({});
  });
  after(async () => {
    await closeStage(stage);
    await closeGpu();
  });

  it("writes a line for each prompt, in the file's order, with its own completion and scores", () => {
    const samples = samplesIn(whole.dir);
    assert.deepEqual(samples.map(({ prompt }) => prompt), EVAL_PROMPTS);
    assert.equal(
      new Set(samples.map(({ completion }) => completion)).size,
      5,
      "so that an exchange would show",
    );
    for (const { prompt, completion, reward, cost } of samples) {
      assert.deepEqual([reward, cost], [rewardOf(prompt, completion), costOf(prompt, completion)], prompt);
    }
    assert.deepEqual(whole.batches, [{
      prompts: EVAL_PROMPTS,
      responses: samples.map(({ completion }) => completion),
    }]);
  });

  it("writes and prints the means, with lambda_cost as lambda, and the counts", async () => {
    const ran = await evaluate({ lambda_cost: 2.5 });
    const summary = JSON.parse(readFileSync(join(ran.dir, "eval.json"), "utf8"));
    const samples = samplesIn(ran.dir);
    const [rewards, costs] = [samples.map(({ reward }) => reward), samples.map(({ cost }) => cost)];
    const countOf = (isCounted: (sample: EvalSample) => boolean) => samples.filter(isCounted).length;
    const unsafe = countOf(({ cost }) => cost > 0);
    assert.deepEqual(summary, {
      model_name: scratch("policy"),
      step: 0,
      "eval/mean_reward": mean(rewards),
      "eval/mean_cost": mean(costs),
      "eval/mean_combined": mean(samples.map(({ reward, cost }) => reward - 2.5 * cost)),
      "eval/lambda": 2.5,
      "eval/safe_ratio": (5 - unsafe) / 5,
      "eval/unsafe_share_low": exactInterval(unsafe, 5)[0],
      "eval/unsafe_share_high": exactInterval(unsafe, 5)[1],
      "eval/total_samples": 5,
      counts: {
        SH: countOf(({ reward, cost }) => cost <= 0 && reward > 0),
        SU: countOf(({ reward, cost }) => cost <= 0 && reward <= 0),
        UH: countOf(({ reward, cost }) => cost > 0 && reward > 0),
        UU: countOf(({ reward, cost }) => cost > 0 && reward <= 0),
      },
      total: 5,
      unsafeCount: unsafe,
      safeRatio: (5 - unsafe) / 5,
    });
    assert.ok(ran.output.includes(JSON.stringify(summary, null, 2)), ran.output);
    assert.equal(ran.code, 0);
  });

  it("completes every prompt where the last batch is not full, each as in a batch of its own", async () => {
    for (const size of [1, 2, 3, 4]) {
      const ran = await evaluate({ eval_batch_size: size });
      assert.deepEqual(samplesIn(ran.dir), samplesIn(whole.dir), `batches of ${size}`);
      const progress = ran.output.match(/^generated .*$/gm)!;
      assert.equal(progress.length, Math.ceil(5 / size));
      assert.equal(lastOf(progress), "generated 5/5");
    }
  });

  it("gives each prompt the completion that it has where it is the only one", async () => {
    for (const [i, prompt] of EVAL_PROMPTS.entries()) {
      writeFileSync(scratch("alone.jsonl"), JSON.stringify({ prompt }));
      const ran = await evaluate({ eval_jsonl: scratch("alone.jsonl") });
      assert.deepEqual(samplesIn(ran.dir), [samplesIn(whole.dir)[i]]);
    }
  });

  it("asks the scorer for scorer_batch_size_eval completions at a time, the last for what is left", async () => {
    const ran = await evaluate({ scorer_batch_size_eval: 3, scorer_batch_size: 1 });
    assert.deepEqual(ran.batches.map(({ prompts }) => prompts), [
      EVAL_PROMPTS.slice(0, 3),
      EVAL_PROMPTS.slice(3),
    ]);
    assert.deepEqual(samplesIn(ran.dir), samplesIn(whole.dir));
  });

  it("is greedy: neither the seed nor how training samples shows", async () => {
    const settings = { temperature: 3, top_k: 2, top_p: 0.5, repetition_penalty: 9, seed: 3 };
    const ran = await evaluate(settings);
    assert.deepEqual(samplesIn(ran.dir), samplesIn(whole.dir));
  });

  it("cuts completions at max_completion_length and prompts at max_prompt_length, and scores what is left", async () => {
    const ran = await evaluate({ max_completion_length: 2, max_prompt_length: 46 });
    assert.deepEqual(ran.batches[0].prompts, EVAL_PROMPTS.map((prompt) => prompt.slice(0, 2)));
    assert.deepEqual(samplesIn(ran.dir).map(({ prompt }) => prompt), ran.batches[0].prompts);
    for (const { completion } of samplesIn(ran.dir)) assert.ok(completion.length <= 2, completion);
  });

  it("reads prompts from prompt_key, and never cuts their number to max_samples", async () => {
    const ran = await evaluate({
      eval_jsonl: scratch("train.jsonl"),
      prompt_key: "question",
      max_samples: 1,
    });
    const prompts = samplesIn(ran.dir).map(({ prompt }) => prompt);
    assert.equal(prompts.length, 6);
    for (const prompt of prompts) assert.match(prompt, /^why .*\?$/);
  });

  it("writes to --output where it is given, and to nowhere else", async () => {
    const folder = scratch("evaluations/first");
    const ran = await evaluate({}, ["--output", folder]);
    assert.deepEqual(samplesIn(folder), samplesIn(whole.dir));
    assert.ok(existsSync(join(folder, "eval.json")), "eval.json");
    assert.ok(!existsSync(ran.dir), "nothing in output_dir");
    assert.ok(ran.output.includes(`Written to ${folder}/eval.json and eval_samples.jsonl`), ran.output);
  });

  it("writes beside the model where no folder is named, so that two models have two results", async () => {
    const settings = ["--set", `eval_jsonl=${scratch("eval.jsonl")}`, "--set", "max_completion_length=12"];
    for (const name of ["policy", "other_policy"]) {
      const model = ["--set", `model_name=${scratch(name)}`];
      const { code, error } = await capture(() =>
        evalCommand(["--config", scratch("base.yaml"), ...settings, ...model])
      );
      assert.equal(code, 0, error?.message);
    }
    const [first, second] = ["policy", "other_policy"].map((name) => samplesIn(join(scratch(name), "eval")));
    assert.deepEqual(first, samplesIn(whole.dir));
    assert.notDeepEqual(second, first);
  });

  it("with --kl takes the KL of the model from its base over its own answers, and says so; without models it is refused", async () => {
    const folder = scratch("evaluations/kl");
    const options = ["--base", scratch("other_policy"), "--kl", "--output", folder];
    const ran = await evaluate({}, options);
    const fileOf = (end: string, isBase = false) =>
      readdirSync(folder).find((name) => name.endsWith(end) && name.includes("other") === isBase)!;
    const [points, summary] = ["_points.jsonl", "_summary.json"].map((end) =>
      readFileSync(join(folder, fileOf(end)), "utf8")
    );
    const rows = points.trim().split("\n").map((line) => JSON.parse(line));
    assert.ok(rows.every(({ kl }) => kl > 0), points);
    const { kl_per_token, kl_per_answer } = JSON.parse(summary).against_base;
    const nats = rows.reduce((sum, { kl }) => sum + kl, 0);
    const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
    assert.deepEqual([kl_per_token, kl_per_answer], [nats / tokens, nats / rows.length]);
    assert.match(ran.output, new RegExp(`, KL ${kl_per_token.toFixed(4)} nats per token`));
    assert.ok(
      !readFileSync(join(folder, fileOf("_points.jsonl", true)), "utf8").includes('"kl"'),
      "of the base none",
    );
    const responses = [
      "--responses",
      join(folder, fileOf("_points.jsonl")),
      "--base",
      scratch("other_policy"),
      "--kl",
    ];
    const { error } = await capture(() => evalCommand(["--config", scratch("base.yaml"), ...responses]));
    assert.match(error!.message, /^--kl required models and a model as --base, found answers of the file/);
  });

  it("evaluates the model of model_name, and that is what eval.json says", async () => {
    const ran = await evaluate({ model_name: scratch("other_policy") });
    assert.notDeepEqual(samplesIn(ran.dir), samplesIn(whole.dir));
    const { model_name } = JSON.parse(readFileSync(join(ran.dir, "eval.json"), "utf8"));
    assert.equal(model_name, scratch("other_policy"));
  });

  it("of a run's folder gives the run's own numbers, step and lambda; --lambda puts another in its place", async () => {
    const settings = { eval_jsonl: scratch("eval.jsonl"), max_completion_length: 12, eval_every: 1 };
    const run = await runCommand(stage, "train", { ...settings, save_steps: 1 });
    if (run.error) throw run.error;
    const evalRows = evalRowsOf(run);
    assert.deepEqual(evalRows.map(({ step }) => step), [1, 2]);
    const summaryOf = async (name: string, options?: string[]) => {
      const { dir } = await evaluate({ model_name: name }, options);
      return JSON.parse(readFileSync(join(dir, "eval.json"), "utf8"));
    };
    const wanted = evalRows.map((row) =>
      Object.entries(row).filter(([name]) => name === "step" || name.startsWith("eval/"))
    );
    const folder = runFolderOf(run);
    for (const [i, name] of [join(folder, "checkpoint-1"), folder].entries()) {
      const summary = await summaryOf(name);
      for (const [key, value] of wanted[i]) assert.equal(summary[key], value, `${name}: ${key}`);
    }
    assert.notEqual(evalRows[0]["eval/lambda"], evalRows[1]["eval/lambda"]);
    const other = await summaryOf(folder, ["--lambda", "0"]);
    assert.equal(other["eval/lambda"], 0);
    assert.equal(other["eval/mean_combined"], other["eval/mean_reward"]);
  });

  it("without eval_jsonl there is nothing to evaluate: it says so before it asks or writes anything", async () => {
    const ran = await runCommand(stage, "eval", { eval_jsonl: null });
    assert.match(`${ran.error}`, /Cannot evaluate: eval_jsonl is null; set it to a file of prompts/);
    assert.deepEqual(ran.batches, []);
    assert.ok(!existsSync(ran.dir), "no folder");
  });

  it("a scorer that refuses leaves no files behind", async () => {
    stage.scorer.refusal = 503;
    const ran = await runCommand(stage, "eval", { eval_jsonl: scratch("eval.jsonl") });
    stage.scorer.refusal = null;
    assert.match(`${ran.error}`, /is not responding/);
    assert.ok(!existsSync(ran.dir), "no folder");
  });

  it("one that was ended goes on behind what it kept: nothing is asked or answered twice", async () => {
    const folder = scratch("evaluations/ended");
    const { scorer } = stage;
    // The third request and those behind it are refused.
    Object.defineProperty(scorer, "refusal", {
      configurable: true,
      get: () => scorer.batches.length > 2 ? 503 : null,
    });
    const settings = { eval_jsonl: scratch("eval.jsonl"), max_completion_length: 12 };
    const small = { ...settings, eval_batch_size: 1, scorer_batch_size_eval: 1 };
    const ended = await runCommand(stage, "eval", small, ["--output", folder]);
    Object.defineProperty(scorer, "refusal", { value: null, writable: true, configurable: true });
    assert.match(`${ended.error}`, /is not responding/);
    assert.ok(!existsSync(join(folder, "eval.json")), "no result of a part");
    const gone = await evaluate({ eval_batch_size: 2 }, ["--output", folder]);
    assert.match(gone.output, /2 of 5 prompts are done/);
    assert.deepEqual(gone.batches.flatMap(({ prompts }) => prompts), EVAL_PROMPTS.slice(2));
    assert.deepEqual(samplesIn(folder), samplesIn(whole.dir));
    assert.deepEqual(readdirSync(folder).filter((name) => name.includes("partial")), []);
    const again = await evaluate({}, ["--output", folder]);
    assert.equal(again.batches.flatMap(({ prompts }) => prompts).length, 5, "one that is done begins anew");
  });

  it("a preset stands before the settings of the command line, and its scores are bfloat16", async () => {
    const ran = await evaluate({ max_completion_length: 9 }, ["--preset", "paper-256"]);
    const name = readdirSync(ran.dir).find((file) => file.endsWith("_summary.json"))!;
    const { preset, settings } = JSON.parse(readFileSync(join(ran.dir, name), "utf8"));
    assert.equal(preset, "paper-256");
    const { max_completion_length, stop_strings, scorer_max_length, scores } = settings;
    assert.deepEqual({ max_completion_length, stop_strings, scorer_max_length, scores }, {
      max_completion_length: 9,
      stop_strings: [],
      scorer_max_length: 4096,
      scores: "bfloat16",
    });
  });

  it("holds a model against a base, both evaluated alike, with files of each", async () => {
    const folder = scratch("evaluations/against");
    const ran = await evaluate({}, ["--base", scratch("other_policy"), "--output", folder]);
    assert.equal(ran.batches.flatMap(({ prompts }) => prompts).length, 10);
    const files = readdirSync(folder).filter((name) => name.endsWith("_summary.json")).sort();
    const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
    assert.equal(files.length, 2);
    const [own] = files.map(read).filter((summary) => summary.against_base);
    assert.equal(own.model, scratch("policy"));
    assert.equal(own.against_base.num_pairs, 5);
    const { wins, ties, losses } = own.against_base.reward.win_rate;
    assert.equal(wins + ties + losses, 5);
  });

  it("has answers of a file scored, by what they answer", async () => {
    const file = scratch("answers.jsonl");
    const rows = [{ prompt: "one", response: "1" }, { prompt: "two", completion: "2" }];
    writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const folder = scratch("evaluations/answers");
    const ran = await runCommand(stage, "eval", {}, ["--responses", file, "--output", folder]);
    assert.equal(ran.code, 0, ran.error?.message);
    const points = readFileSync(join(folder, "answers_points.jsonl"), "utf8").trim().split("\n");
    const scores = points.map((line) => JSON.parse(line)).map(({ reward, cost }) => [reward, cost]);
    assert.deepEqual(scores, [[rewardOf("one", "1"), costOf("one", "1")], [
      rewardOf("two", "2"),
      costOf("two", "2"),
    ]]);
  });
});
