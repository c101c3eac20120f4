/** Scores of completions that are asked for while others are being sampled. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Answer, ScoreOptions, Scorer } from "../../src/scorer/protocol.ts";
import { scoreEarly } from "../../src/train/early_scoring.ts";
import { batchShape } from "../../src/config/batch.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { initialLambdaState } from "../../src/rl/lambda.ts";
import type { Completion, GenerationRequest } from "../../src/policy/decode/generate.ts";
import { singleProcess } from "../../src/parallel/communicator.ts";
import { trainOnGenerationBatch } from "../../src/train/generation_batch.ts";
import type { Learner } from "../../src/train/learner.ts";
import type { Rollout } from "../../src/train/rollout.ts";
import { load } from "./loaded_config.ts";

const decode = (ids: ArrayLike<number>) => Array.from(ids).join(" ");

const rollout = (value: number) =>
  ({ prompt: { user: "of" }, text: String(value), tokens: [], end: "eos" }) as unknown as Rollout;

/** The reward of a text is its number. */
function recordingScorer(): { scorer: Scorer; requests: string[][] } {
  const requests: string[][] = [];
  return {
    requests,
    scorer: {
      score: (answers) => {
        const responses = answers.map(({ completion }) => completion);
        requests.push(responses);
        return Promise.resolve({
          rewards: responses.map(Number),
          costs: responses.map((text) => -Number(text)),
        });
      },
    },
  };
}

describe("scoreEarly()", () => {
  it("puts scores in the rollouts' places, in whatever order the groups end", async () => {
    const { scorer } = recordingScorer();
    const scoring = scoreEarly(scorer, { batchSize: 3, step: 1, decode });
    scoring.add([rollout(4), rollout(5)], 4);
    scoring.add([rollout(0), rollout(1)], 0);
    scoring.add([rollout(2), rollout(3)], 2);
    assert.deepEqual(await scoring.finish(), {
      rewards: [0, 1, 2, 3, 4, 5],
      costs: [-0, -1, -2, -3, -4, -5],
    });
  });

  it("sends a request as soon as it is full, and at the end what is left", async () => {
    const { scorer, requests } = recordingScorer();
    const scoring = scoreEarly(scorer, { batchSize: 3, step: 1, decode });
    scoring.add([rollout(0), rollout(1)], 0);
    await Promise.resolve();
    assert.deepEqual(requests, []);
    scoring.add([rollout(2), rollout(3)], 2);
    await Promise.resolve();
    assert.deepEqual(requests, [["0", "1", "2"]]);
    await scoring.finish();
    assert.deepEqual(requests, [["0", "1", "2"], ["3"]]);
  });

  it("asks of each completion's own prompt, in requests of the size and step that it was given, one after the other", async () => {
    const asked: { pairs: string[]; options?: ScoreOptions }[] = [];
    const options = { batchSize: 2, step: 7 };
    let running = 0;
    const scoring = scoreEarly({
      score: async (answers, options) => {
        assert.equal(++running, 1, "two requests at once");
        asked.push({
          pairs: answers.map(({ prompt, completion }) => prompt + completion),
          options,
        });
        await new Promise((resolve) => setTimeout(resolve, 1));
        running--;
        return { rewards: answers.map(() => 1), costs: answers.map(() => 2) };
      },
    }, { ...options, decode });
    const of = (user: string, value: number) =>
      ({ ...rollout(value), prompt: { user } }) as unknown as Rollout;
    scoring.add([of("p", 0), of("q", 1), of("r", 2), of("s", 3), of("t", 4)], 0);
    await scoring.finish();
    assert.deepEqual(asked, [
      { pairs: ["p0", "q1"], options },
      { pairs: ["r2", "s3"], options },
      { pairs: ["t4"], options },
    ]);
  });

  it("tells of each completion its tokens, its conversation as messages and as the policy read it, and the row's columns", async () => {
    const asked: Answer[] = [];
    const scoring = scoreEarly({
      score(answers) {
        asked.push(...answers);
        return Promise.resolve({ rewards: [0], costs: [0] });
      },
    }, { batchSize: 1, step: 1, decode });
    const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Why?" }];
    const columns = { label: 3 };
    const prompt = { user: "Why?", ids: [1], truncated: false, messages, columns, layout: "chat" as const };
    scoring.add([{
      prompt,
      text: "So.",
      tokens: [4, 2],
      logprobs: null,
      end: "eos",
      hallucinatedTurn: false,
    }], 0);
    await scoring.finish();
    assert.deepEqual(asked.map((answer) => ({ ...answer })), [
      {
        prompt: "Why?",
        messages,
        completion: "So.",
        tokens: [4, 2],
        columns,
        promptText: "1",
        fullText: "1 4 2",
      },
    ]);
  });

  it("puts what the parts of a scorer said in the rollouts' places; one that said nothing does not apply", async () => {
    const scoring = scoreEarly({
      score(answers) {
        const values = answers.map(({ completion }) => Number(completion));
        return Promise.resolve({
          rewards: values,
          costs: values,
          named: { [`rewards/of ${values[0]}`]: values },
        });
      },
    }, { batchSize: 2, step: 1, decode });
    scoring.add([rollout(2), rollout(3)], 2);
    scoring.add([rollout(0), rollout(1)], 0);
    const { named } = await scoring.finish();
    assert.deepEqual(named, { "rewards/of 2": [NaN, NaN, 2, 3], "rewards/of 0": [0, 1, NaN, NaN] });
  });

  it("asks nothing where there is nothing to score", async () => {
    const { scorer, requests } = recordingScorer();
    assert.deepEqual(await scoreEarly(scorer, { batchSize: 3, step: 1, decode }).finish(), {
      rewards: [],
      costs: [],
    });
    assert.deepEqual(requests, []);
  });

  it("a failure is told by finish(), and nothing is sent after it", async () => {
    let requests = 0;
    const scoring = scoreEarly({
      score: () => {
        requests++;
        return Promise.reject(new Error("gone"));
      },
    }, { batchSize: 1, step: 1, decode });
    scoring.add([rollout(0), rollout(1)], 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await assert.rejects(scoring.finish(), /gone/);
    assert.equal(requests, 1);
  });
});

/** Scores that a generation batch has asked for when its first group of two has ended and the other has not. */
async function askedMeanwhile(sharesGpu: boolean | undefined): Promise<number> {
  let asked = 0;
  const scorer: Scorer = {
    sharesGpu,
    score(answers) {
      asked += answers.length;
      return Promise.reject(new Error("never told: sampling ends before"));
    },
  };
  const [config] = sweepRuns(load(
    "num_generations: 2\nper_device_train_batch_size: 4\ngradient_accumulation_steps: 1\nscorer_batch_size: 2",
  ));
  const prompt = (user: string) => ({
    user,
    ids: [1],
    truncated: false,
    messages: [],
    columns: {},
    layout: "beaver" as const,
  });
  const deps = {
    config,
    learner: {} as Learner,
    tokenizer: { decode: () => "text" } as unknown as Tokenizer,
    prompts: [prompt("a"), prompt("b")],
    scorer,
    communicator: singleProcess,
    shape: batchShape(config),
    totalSteps: 1,
    generator: {
      async generate({ onGroup }: GenerationRequest): Promise<Completion[]> {
        onGroup!(0, [3, 4].map((token) => ({ tokens: [token], logprobs: null, end: "eos" })), 0);
        await new Promise((resolve) => setTimeout(resolve, 1));
        throw new Error("the second group");
      },
    },
  };
  const progress = {
    step: 0,
    lambdas: [initialLambdaState(1)],
    rankLambdas: null,
    numTokens: 0,
    entropyControl: null,
  };
  await assert.rejects(trainOnGenerationBatch(deps, progress), /the second group/);
  return asked;
}

describe("a generation batch", () => {
  it("has groups that ended judged while others are sampled, unless the scorer computes on the same GPU", async () => {
    assert.deepEqual([await askedMeanwhile(undefined), await askedMeanwhile(true)], [2, 0]);
  });
});
