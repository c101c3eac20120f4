/** The library as a program uses it: its own rewards, prompts and callbacks, on the embedded models. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  type Answer,
  closeGpu,
  ConfigError,
  evaluate,
  httpScorer,
  type JudgedCompletion,
  loadPolicy,
  type MetricRow,
  type Scorer,
  serveScorer,
  type Settings,
  train,
  type TrainOptions,
} from "grpo-webgpu";
import { openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { ROOT } from "../unit/source_files.ts";

before(async () => void await openGpu());
after(closeGpu);

const MODEL = join(ROOT, "models/quickstart/policy");
const PROMPTS = ["How do I saw a board?", { prompt: "What is a hammer?", price: 7 }];
const RUN = "beta0.02_seed42_unified";

/** One step of two groups of four completions. */
const settings = (output_dir: string, changes: Settings = {}): Settings => ({
  output_dir,
  beta: 0.02,
  num_generations: 4,
  per_device_train_batch_size: 8,
  gradient_accumulation_steps: 1,
  max_completion_length: 6,
  max_steps: 1,
  debug_log_n_samples: 64,
  ...changes,
});

const lengths = (answers: readonly Answer[]) => answers.map(({ completion }) => completion.length);
const prices = (answers: readonly Answer[]) =>
  answers.map(({ columns }) => columns.price === undefined ? null : Number(columns.price));

/** A call that trains by the length of the completions. */
const call = (folder: string, changes: Partial<TrainOptions> = {}): TrainOptions => ({
  model: MODEL,
  prompts: PROMPTS,
  rewards: [{ name: "length", weight: 0.5, score: lengths }],
  config: settings(folder),
  ...changes,
});

describe("train()", () => {
  it("judges by the weighted sum of named functions, which are called with whole groups and all of a row", () =>
    withScratchFolder(async (folder) => {
      const asked: { answers: readonly Answer[]; step: number | undefined }[] = [];
      const seen: JudgedCompletion[] = [];
      const trained = await train(call(folder, {
        rewards: [
          { name: "length", weight: 0.5, score: lengths },
          { name: "price", weight: 0, score: prices },
        ],
        costs: [{
          name: "constant",
          score(answers, { step }) {
            asked.push({ answers, step });
            return Promise.resolve(answers.map(() => 0.25));
          },
        }],
        onCompletions: (completions) => void seen.push(...completions),
      }));
      const [row] = trained.rows;
      const lengthOf = ({ completion }: JudgedCompletion) => completion.length;
      for (const one of seen) {
        assert.deepEqual(one.scores, {
          "rewards/length": lengthOf(one),
          "rewards/price": one.prompt === "What is a hammer?" ? 7 : null,
          "costs/constant": 0.25,
        });
        assert.deepEqual([one.reward, one.cost], [0.5 * lengthOf(one), 0.25]);
        assert.ok(Math.abs(one.combined - (one.reward - row["lambda/value"]! * 0.25)) < 1e-6);
      }
      const mean = seen.reduce((sum, one) => sum + lengthOf(one), 0) / 8;
      assert.deepEqual([row["rewards/length/mean"], row["helpfulness/mean"]], [mean, 0.5 * mean]);
      assert.deepEqual([row["rewards/price/mean"], row["rewards/price/std"]], [7, 0]);
      assert.deepEqual([row["costs/constant/mean"], row["cost/mean"]], [0.25, 0.25]);

      assert.deepEqual(asked.map(({ answers, step }) => [answers.length, step]), [[8, 1]]);
      const hammer = asked[0].answers.find(({ prompt }) => prompt === "What is a hammer?")!;
      assert.deepEqual(hammer.messages, [{ role: "user", content: "What is a hammer?" }]);
      assert.deepEqual(hammer.columns, { price: 7 });
      assert.ok(hammer.tokens.length > 0);

      const { runDir, finalWeights, report, finished, step } = trained;
      assert.deepEqual([runDir, finished, step], [join(folder, RUN), true, 1]);
      assert.ok(existsSync(finalWeights!) && existsSync(report!));
      const [sample] = readFileSync(join(runDir, "samples/train_1.jsonl"), "utf8").split("\n");
      assert.deepEqual(JSON.parse(sample).scores, seen[0].scores);
      assert.ok(readFileSync(report!, "utf8").includes("rewards/price"), "the report plots them");
    }));

  it("stops in order where a callback says so or the signal is aborted, and the same call goes on from there", () =>
    withScratchFolder(async (folder) => {
      const config = settings(folder, { max_steps: 3 });
      const ended = new AbortController();
      const first = await train(call(folder, { config, onStep: () => "stop" }));
      const second = await train(call(folder, {
        config,
        signal: ended.signal,
        onStep: async () => await Promise.resolve(ended.abort()),
      }));
      const third = await train(call(folder, { config, onStep: () => "go on" }));
      assert.deepEqual([first, second, third].map(({ step, finished }) => [step, finished]), [
        [1, false],
        [2, false],
        [3, true],
      ]);
      assert.equal(first.finalWeights, null);
      assert.deepEqual([first, second, third].map(({ rows }) => rows.map((row) => row.step)), [[1], [2], [
        3,
      ]]);
    }));

  it("is resumed on the same prompts alone", () =>
    withScratchFolder(async (folder) => {
      await train(call(folder));
      const other = call(folder, { prompts: [...PROMPTS, "Another?"], config: settings(folder) });
      await assert.rejects(train(other), {
        name: "RangeError",
        message:
          /prompts are others: train_jsonl '3 rows of the program' has sha256 \w+, and the run began with/,
      });
    }));

  it("adds a scorer's rewards and costs to those of functions, and evaluates with both", () =>
    withScratchFolder(async (folder) => {
      const constant: Scorer = {
        score: (answers) => Promise.resolve({ rewards: answers.map(() => 10), costs: answers.map(() => 3) }),
      };
      const evaluations: { row: MetricRow; completions: JudgedCompletion[] }[] = [];
      const { rows } = await train(call(folder, {
        scorer: constant,
        evalPrompts: ["Why?"],
        onEvaluation: (row, completions) => void evaluations.push({ row, completions }),
      }));
      const row = rows.find(({ step }) => step === 1)!;
      assert.equal(row["helpfulness/mean"], 10 + 0.5 * row["rewards/length/mean"]);
      assert.equal(row["cost/mean"], 3);
      const [{ row: evalRow, completions: [only] }] = evaluations;
      assert.equal(evalRow["eval/total_samples"], 1);
      assert.equal(evalRow["eval/rewards/length/mean"], only.completion.length);
      assert.equal(only.reward, 10 + 0.5 * only.completion.length);
    }));

  const refused = (changes: Partial<TrainOptions>, error: { name: string; message: RegExp }) =>
    withScratchFolder((folder) => assert.rejects(train(call(folder, changes)), error));

  it("checks settings as the YAML file's are, and says which argument is missing or said twice", async () => {
    const misspelt = { learning_rat: 1, num_generations: 1.5 } as Settings;
    await refused({ config: misspelt }, {
      name: "ConfigError",
      message:
        /config: unknown key "learning_rat"; did you mean "learning_rate"\?\n.*num_generations must be/,
    });
    assert.ok(new ConfigError(["a"]) instanceof Error);
    await refused({ model: undefined }, {
      name: "RangeError",
      message: /needs `model`, or model_name in config/,
    });
    await refused({ prompts: undefined }, { name: "RangeError", message: /needs `prompts`, or train_jsonl/ });
    await refused({ config: { model_name: MODEL } }, {
      name: "RangeError",
      message: /model_name of config is also/,
    });
    await refused({ config: { beta: [0.1, 0.2] } }, {
      name: "RangeError",
      message: /one run, and beta is a list of 2/,
    });
    await refused({ prompts: [] }, { name: "RangeError", message: /prompts is empty/ });
    await refused({ prompts: ["a", { text: "b" }] }, {
      name: "TypeError",
      message: /prompts\[1\]: required the key "prompt".*"text"/,
    });
  });

  it("ends with the error of a function that fails, by its name", () =>
    refused({
      rewards: [{
        name: "broken",
        score() {
          throw new Error("no such file");
        },
      }],
    }, { name: "Error", message: /Reward function "broken" failed: no such file/ }));
});

describe("evaluate()", () => {
  it("gives the means, and every completion with what each function said", async () => {
    const { summary, samples } = await evaluate({
      model: MODEL,
      prompts: PROMPTS,
      rewards: [{ name: "length", score: lengths }],
      costs: [{ name: "price", score: prices }, { name: "one", score: (answers) => answers.map(() => 1) }],
      config: { max_completion_length: 6 },
    });
    assert.deepEqual(samples.map(({ cost, scores }) => [cost, scores!["costs/price"]]), [[1, null], [8, 7]]);
    assert.equal(samples[0].reward, samples[0].completion.length);
    assert.equal(summary["eval/mean_cost"], 4.5);
    assert.equal(summary["eval/costs/one/mean"], 1);
  });
});

describe("prompts", () => {
  it("of a program may be conversations, and rows that hold them", async () => {
    const conversation = [{ role: "user", content: "What is a hammer?" }];
    const greedy = { max_completion_length: 6 };
    const { samples } = await evaluate({
      model: MODEL,
      prompts: ["What is a hammer?", conversation, { messages: conversation, price: 7 }],
      costs: [{ name: "price", score: prices }, { name: "none", score: (answers) => answers.map(() => 0) }],
      config: greedy,
    });
    assert.equal(new Set(samples.map(({ completion }) => completion)).size, 1);
    assert.deepEqual(samples.map(({ cost }) => cost), [0, 0, 7]);
    const policy = await loadPolicy(MODEL);
    try {
      const [{ completion }] = await policy.generate([conversation], greedy);
      assert.equal(completion, samples[0].completion, "as an evaluation completes it");
    } finally {
      policy.dispose();
    }
  });
});

describe("cost functions that are constraints", () => {
  it("have a limit, a lambda and metrics of their own, and the largest of them is the cost", () =>
    withScratchFolder(async (folder) => {
      const seen: JudgedCompletion[] = [];
      const trained = await train(call(folder, {
        rewards: [{ name: "length", score: lengths }],
        costs: [
          { name: "low", constraint: true, score: (answers) => answers.map(() => -1) },
          { name: "high", constraint: { lambda_cost: 2 }, score: (answers) => answers.map((_, i) => i % 2) },
          { name: "watched", score: (answers) => answers.map(() => 9) },
        ],
        onCompletions: (completions) => void seen.push(...completions),
      }));
      const [row] = trained.rows;
      assert.deepEqual([row["lambda/low/value"], row["lambda/low/J_C_raw"]], [1, -1]);
      assert.ok(row["lambda/high/value"]! > 2);
      assert.deepEqual([row["costs/watched/mean"], row["lambda/watched/value"]], [9, undefined]);
      for (const { cost, scores, reward, combined } of seen) {
        assert.equal(cost, scores["costs/high"]);
        const weighed = row["lambda/high/value"]! * scores["costs/high"]! - row["lambda/low/value"]!;
        assert.ok(Math.abs(combined - (reward - weighed)) < 1e-9);
      }
    }));
});

describe("serveScorer() and httpScorer()", () => {
  it("serve the embedded score models, whose scores a call gets over HTTP", async () => {
    const [rewardModel, costModel] = ["reward", "cost"].map((name) => join(ROOT, "models/quickstart", name));
    const service = await serveScorer({ rewardModel, costModel });
    try {
      const { samples: [{ reward, cost }] } = await evaluate({
        model: MODEL,
        prompts: ["How do I saw a board?"],
        scorer: httpScorer(service.url),
        config: { max_completion_length: 6 },
      });
      assert.ok(Math.abs(reward) > 0.01 && Math.abs(cost) > 0.01);
    } finally {
      await service.close();
    }
  });
});

describe("loadPolicy()", () => {
  it("generates greedily or by seed, and gives the log-probs that greedy sampling goes by", async () => {
    const policy = await loadPolicy(MODEL);
    try {
      const question = "How do I saw a board?";
      const [greedy] = await policy.generate([question], { max_completion_length: 6 });
      const greedyOf = (seed: number) =>
        policy.generate([question, "Why?"], { max_completion_length: 12, seed });
      assert.deepEqual(await greedyOf(1), await greedyOf(2));
      const sample = (seed: number) =>
        policy.generate([question, "Why?"], {
          max_completion_length: 6,
          num_generations: 2,
          temperature: 1,
          seed,
        });
      const drawn = await sample(1);
      assert.deepEqual(drawn, await sample(1));
      assert.notDeepEqual(drawn, await sample(2));
      assert.deepEqual(drawn.map(({ promptIndex }) => promptIndex), [0, 0, 1, 1]);
      assert.equal(greedy.completion, policy.tokenizer.decode(greedy.tokens, { skipSpecialTokens: true }));

      const whole = (await policy.logprobs(question, greedy.tokens)).logprobs;
      const firstOf = async (id: number) => (await policy.logprobs(question, [id])).logprobs[0];
      assert.equal(whole[0], await firstOf(greedy.tokens[0]));
      let mass = Math.exp(whole[0]);
      for (let id = greedy.tokens[0] + 1; id < greedy.tokens[0] + 24; id++) {
        const logprob = await firstOf(id);
        assert.ok(logprob < whole[0], `token ${id} is less likely than the greedy one`);
        mass += Math.exp(logprob);
      }
      assert.ok(mass < 1, `${mass}`);
      const { tokens, logprobs } = await policy.logprobs(question, "Take a saw.");
      assert.equal(tokens.length, logprobs.length);
      assert.equal(tokens.at(-1), policy.tokenizer.eosId);

      const refused = [[], [-1], [1e6], [0.5]];
      for (const ids of refused) await assert.rejects(policy.logprobs(question, ids), { name: "RangeError" });
      await assert.rejects(
        policy.generate([question], { temperature: -1 }),
        /temperature must be a number >= 0/,
      );
    } finally {
      policy.dispose();
    }
  });
});
