/** Effects of the groups "Model and prompts" and "Scorer". */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promptsOfGeneration } from "../../src/rl/rng.ts";
import { tokenCount } from "./config_by_hand.ts";
import type { Effect } from "./config_effect.ts";
import {
  evalRowsOf,
  promptsAsked,
  requestSizes,
  rowsOf,
  runFolderOf,
  tableOf,
  tensorsIn,
  weightsOf,
} from "./config_read.ts";
import { EVAL_PROMPTS, PROMPTS, QUESTIONS, type Ran, scratch, type Stage } from "./config_run.ts";

/** Nothing moves by it. */
const STILL = 1e-12;

const assertWeightsOf = (ran: Ran, model: string) => {
  const trained = weightsOf(ran);
  for (const [name, { values }] of tensorsIn(join(scratch(model), "model.safetensors"))) {
    values.forEach((value, i) => assert.ok(Math.abs(trained.get(name)!.values[i] - value) < 1e-9, name));
  }
};

const assertAmong = (found: readonly string[], allowed: readonly string[]) =>
  assert.deepEqual(found.filter((text) => !allowed.includes(text)), []);

const MODEL: readonly Effect[] = [
  {
    key: "model_name",
    value: scratch("other_policy"),
    seen: "the weights that are trained and saved are those of that folder",
    given: { learning_rate: STILL },
    check(changed, without) {
      assertWeightsOf(changed, "other_policy");
      assertWeightsOf(without, "policy");
    },
  },
  {
    key: "train_jsonl",
    value: scratch("eval.jsonl"),
    seen: "the prompts that are answered and scored are that file's",
    check(changed, without) {
      assertAmong(promptsAsked(changed), EVAL_PROMPTS);
      assertAmong(promptsAsked(without), PROMPTS);
      assert.equal(rowsOf(changed)[1].epoch, 2 * 2 / EVAL_PROMPTS.length);
    },
  },
  {
    key: "eval_jsonl",
    value: scratch("eval.jsonl"),
    seen: "that file's prompts are answered and scored after the last step",
    check(changed, without) {
      assert.deepEqual(changed.batches.at(-1)!.prompts, EVAL_PROMPTS);
      assert.deepEqual(evalRowsOf(changed).map((row) => row["eval/total_samples"]), [EVAL_PROMPTS.length]);
      assert.deepEqual(evalRowsOf(without), []);
      assert.match(without.output, /no evaluation will run/);
    },
  },
  {
    key: "prompt_key",
    value: "question",
    seen: "prompts are read from that key",
    check: (changed) => assertAmong(promptsAsked(changed), QUESTIONS),
  },
  {
    key: "max_samples",
    value: 2,
    seen: "only the first two prompts are sampled, and a step of two is an epoch",
    check(changed, without) {
      assert.deepEqual(promptsAsked(changed).sort(), PROMPTS.slice(0, 2).sort());
      assert.deepEqual(rowsOf(changed).map(({ epoch }) => epoch), [1, 2]);
      assert.equal(promptsAsked(without).length, 4);
    },
  },
  {
    key: "dtype",
    value: "bfloat16",
    seen: "matrices are trained and saved in bf16, and config.json says so",
    check(changed, without) {
      const dtypeOf = (ran: Ran) => weightsOf(ran).get("model.layers.0.mlp.up_proj.weight")!.dtype;
      assert.deepEqual([dtypeOf(changed), dtypeOf(without)], ["BF16", "F32"]);
      const { dtype } = JSON.parse(readFileSync(join(runFolderOf(changed), "config.json"), "utf8"));
      assert.equal(dtype, "bfloat16");
    },
  },
  {
    key: "matmul_precision",
    value: "float16",
    seen: "matrix units multiply; where there are none the run is refused, and says so",
    mayFail: /Cannot multiply matrices in float16 on this device: .*leave the precision at float32/,
    check(changed, without) {
      // 11 bits of each factor: a loss after one update is off by a thousandth at most, and by something.
      const [rounded, exact] = [changed, without].map((ran) => rowsOf(ran)[1].loss!);
      assert.notEqual(rounded, exact);
      assert.ok(Math.abs(rounded - exact) < 0.05, `${rounded} ${exact}`);
    },
  },
  {
    key: "max_prompt_length",
    value: 46,
    seen: "of each user's text two characters are left, the template being 44 tokens, and scored with it",
    check(changed, without) {
      const cuts = PROMPTS.map((prompt) => prompt.slice(0, 2));
      assertAmong(promptsAsked(changed), cuts);
      assert.equal(rowsOf(changed)[0]["prompts/truncated_ratio"], 1);
      assert.equal(rowsOf(without)[0]["prompts/truncated_ratio"], 0);
      const lengths = tableOf(changed, "train", 1).map(({ completion }) => tokenCount(completion, 6));
      assert.equal(rowsOf(changed)[0].num_tokens, lengths.reduce((all, own) => all + 46 + own, 0));
    },
  },
  {
    key: "seed",
    value: 7,
    seen: "prompts come in its order, their completions are others, and the run's folder has its name",
    given: { max_samples: 4 },
    check(changed, without) {
      for (const [ran, seed] of [[changed, 7], [without, 42]] as const) {
        const order = promptsOfGeneration(0, { promptCount: 4, promptsPerGeneration: 2, seed });
        const asked = [...new Set(tableOf(ran, "train", 1).map(({ prompt }) => prompt))];
        assert.deepEqual(asked, order.map((place) => PROMPTS[place]));
        assert.match(runFolderOf(ran), new RegExp(`beta0.1_seed${seed}_unified$`));
      }
      const answersOf = (ran: Ran, prompt: string) =>
        [1, 2].flatMap((step) => tableOf(ran, "train", step)).filter((row) => row.prompt === prompt)
          .map(({ completion }) => completion);
      assert.notDeepEqual(answersOf(changed, PROMPTS[0]), answersOf(without, PROMPTS[0]));
    },
  },
];

function asksTheOther(changed: Ran, without: Ran, { other }: Stage): void {
  assert.deepEqual(changed.batches, []);
  assert.deepEqual(other.batches, without.batches);
}

const SCORER: readonly Effect[] = [
  {
    key: "scorer_url",
    value: ({ other }: Stage) => other.url,
    seen: "the service at that address is asked, and no other",
    check: asksTheOther,
  },
  {
    key: "scorer_url",
    value: `file:${scratch("scorer_url")}`,
    seen: "the service whose address the file holds is asked, as on a cluster",
    prepare({ other }) {
      other.forget();
      writeFileSync(scratch("scorer_url"), `${other.url}\n`);
    },
    check: asksTheOther,
  },
  {
    key: "reward_model",
    value: scratch("other_reward"),
    seen: "rewards are that model's, which gives 2.5 to every text; costs stay",
    given: { scorer_url: null },
    check(changed, without) {
      for (const [ran, reward] of [[changed, 2.5], [without, 1.5]] as const) {
        assert.deepEqual(tableOf(ran, "train", 1).map((row) => row.reward), Array(8).fill(reward));
        assert.equal(rowsOf(ran)[0]["cost/mean"], -0.5);
        assert.deepEqual(ran.batches, [], "no other scorer is asked");
      }
    },
  },
  {
    key: "cost_model",
    value: scratch("other_cost"),
    seen: "costs are that model's, which gives 0.75 to every text; rewards stay",
    given: { scorer_url: null },
    check(changed, without) {
      for (const [ran, cost] of [[changed, 0.75], [without, -0.5]] as const) {
        assert.deepEqual(tableOf(ran, "train", 1).map((row) => row.cost), Array(8).fill(cost));
        assert.equal(rowsOf(ran)[0]["helpfulness/mean"], 1.5);
      }
    },
  },
  {
    key: "scorer_max_length",
    value: 49,
    seen: "of a conversation 48 tokens and the end are read: the prompt's 47 and one of the completion's",
    given: { scorer_url: null, reward_model: scratch("judging_reward"), max_samples: 1 },
    check(changed, without) {
      const table = tableOf(changed, "train", 1);
      for (const a of table) {
        for (const b of table) {
          assert.equal(
            a.reward === b.reward,
            a.completion[0] === b.completion[0],
            `${a.completion} ${b.completion}`,
          );
        }
      }
      const whole = tableOf(without, "train", 1);
      const different = new Set(whole.map(({ completion }) => completion)).size;
      assert.equal(new Set(whole.map(({ reward }) => reward)).size, different);
    },
  },
  {
    key: "scorer_batch_size",
    value: 3,
    seen: "texts per request while training, and not while evaluating",
    given: { eval_jsonl: scratch("eval.jsonl") },
    check(changed, without) {
      assert.deepEqual(requestSizes(changed), [3, 3, 2, 3, 3, 2, 5]);
      assert.deepEqual(requestSizes(without), [8, 8, 5]);
      assert.deepEqual(rowsOf(changed), rowsOf(without), "the same scores");
    },
  },
  {
    key: "scorer_batch_size_eval",
    value: 2,
    seen: "texts per request while evaluating, and not while training",
    given: { eval_jsonl: scratch("eval.jsonl") },
    check(changed, without) {
      assert.deepEqual(requestSizes(changed), [8, 8, 2, 2, 1]);
      assert.deepEqual(evalRowsOf(changed), evalRowsOf(without), "the same scores");
    },
  },
  {
    key: "scorer_timeout",
    value: 0.1,
    seen: "a scorer that takes 300 ms has not answered within 100 ms",
    prepare: ({ scorer }) => scorer.delayMs = 300,
    fails: /Scorer API .* is not responding[^]*POST \/score_batch, 1 attempt;.*no answer within 100 ms/,
  },
  {
    key: "scorer_timeout",
    value: 5,
    seen: "five seconds are enough for it",
    prepare: ({ scorer }) => scorer.delayMs = 300,
    check: (changed) => assert.equal(rowsOf(changed).length, 2),
  },
  {
    key: "scorer_max_retries",
    value: 2,
    seen: "a scorer that is busy is asked three times",
    prepare: ({ scorer }) => scorer.refusal = 503,
    fails: /POST \/score_batch, 3 attempts; last error: 503: busy/,
    failsWithout: /POST \/score_batch, 1 attempt; last error: 503: busy/,
    check: (changed, without) => assert.deepEqual([changed.batches.length, without.batches.length], [3, 1]),
  },
];

export const MODEL_EFFECTS: readonly Effect[] = [...MODEL, ...SCORER];
