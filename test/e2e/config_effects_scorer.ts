/** Effects of the group "Scorer". */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { formatPrompt } from "../../src/rl/conversation.ts";
import type { Effect } from "./config_effect.ts";
import { evalRowsOf, requestSizes, rowsOf, tableOf } from "./config_read.ts";
import { type Ran, scratch, type Stage } from "./config_run.ts";
import { rewardOf } from "./config_scorer.ts";

function asksTheOther(changed: Ran, without: Ran, { other }: Stage): void {
  assert.deepEqual(changed.batches, []);
  assert.deepEqual(other.batches, without.batches);
}

/** Two score functions, as a user writes them. */
function writeJudges(): void {
  writeFileSync(
    scratch("judges.ts"),
    "type Answers = readonly { completion: string }[];\n" +
      "export const letters = (answers: Answers) => answers.map(({ completion }) => completion.length);\n" +
      "export const watched = (answers: Answers) => answers.map(() => 9);\n",
  );
}

export const SCORER_EFFECTS: readonly Effect[] = [
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
    key: "cost_scorer_url",
    value: ({ other }: Stage) => other.url,
    seen: "costs are those of that service, rewards those of the first",
    prepare({ other }) {
      other.forget();
      other.costShift = 1;
    },
    check(changed, without, { other }) {
      assert.deepEqual(other.batches[0], changed.batches[0], "both are asked the same");
      const [now, before] = [changed, without].map((ran) => tableOf(ran, "train", 1));
      assert.deepEqual(now.map(({ reward }) => reward), before.map(({ reward }) => reward));
      assert.deepEqual(now.map(({ cost }) => cost), before.map(({ cost }) => Number(cost) + 1));
    },
  },
  {
    key: "scorer_api",
    value: "openrlhf",
    seen:
      "the service is asked as OpenRLHF asks, for prompt and completion as the policy read and wrote them",
    check(changed, _without, { scorer }) {
      assert.deepEqual(changed.batches, []);
      const { path, body } = scorer.others[0];
      const { query, prompts } = body as Record<string, string[]>;
      assert.equal(path, "/get_reward");
      tableOf(changed, "train", 1).forEach(({ prompt, completion }, i) => {
        assert.equal(prompts[i], `<s>${formatPrompt(String(prompt))}`);
        assert.ok(query[i].startsWith(`${prompts[i]}${completion}`), query[i]);
      });
      assert.ok(query.some((text) => text.endsWith("</s>")), "the end token is there");
    },
  },
  {
    key: "scorer_input",
    value: "completion",
    seen: "the service judges completions alone",
    given: { scorer_api: "vllm_classify", reward_label: 0, cost_label: 1 },
    prepare: ({ scorer }) => scorer.isVllm = true,
    check(changed, _without, { scorer }) {
      const table = tableOf(changed, "train", 1);
      assert.deepEqual(scorer.others[0].body.input, table.map(({ completion }) => completion));
    },
  },
  {
    key: "scorer_label_key",
    value: "question",
    seen: "that column of the prompts' rows goes along as labels",
    given: { scorer_api: "openrlhf" },
    check(changed, _without, { scorer }) {
      const asked = tableOf(changed, "train", 1).map(({ prompt }) => `why ${prompt}?`);
      assert.deepEqual(scorer.others[0].body.labels, asked);
    },
  },
  {
    key: "reward_label",
    value: 1,
    seen: "the reward is the score of that label",
    given: { scorer_api: "vllm_classify", cost_label: 2 },
    prepare: ({ scorer }) => scorer.isVllm = true,
    failsWithout: /3 labels, and reward_label is null; .*set reward_label to one of 0 to 2/,
    check(changed, _without, { scorer }) {
      const texts = scorer.others[0].body.input as string[];
      assert.deepEqual(
        tableOf(changed, "train", 1).map(({ reward }) => reward),
        texts.map((text) => rewardOf(text, "1")),
      );
    },
  },
  {
    key: "reward_label",
    value: "bad",
    seen: "of a classifier in this process, the label of that name is the reward",
    given: { scorer_url: null, reward_model: scratch("classifier"), reward_label: 0 },
    check(changed, without) {
      const [now, before] = [changed, without].map((ran) => tableOf(ran, "train", 1));
      assert.deepEqual(now.map(({ reward }) => reward), before.map(({ reward }) => -Number(reward)));
    },
  },
  {
    key: "cost_label",
    value: 2,
    seen: "the cost is the score of that label",
    given: { scorer_api: "vllm_classify", reward_label: 0 },
    prepare: ({ scorer }) => scorer.isVllm = true,
    failsWithout: /cost_label must be a label with scorer_api "vllm_classify" and one service, got null/,
    check(changed, _without, { scorer }) {
      const texts = scorer.others[0].body.input as string[];
      assert.deepEqual(
        tableOf(changed, "train", 1).map(({ cost }) => cost),
        texts.map((text) => rewardOf(text, "2")),
      );
    },
  },
  {
    key: "reward_model",
    value: scratch("policy"),
    seen: "a model without a score head is refused by the setting that names it",
    given: { scorer_url: null },
    fails:
      /^reward_model=.*policy: a score model is required, .*got LlamaForCausalLM; set reward_model to one/,
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
    key: "reward_functions",
    value: [`${scratch("judges.ts")}#letters:0.5`, `${scratch("judges.ts")}#watched:0`],
    seen:
      "half the letters are added to the scorer's rewards; each function's numbers are in rows and samples",
    prepare: writeJudges,
    check(changed, without) {
      const before = tableOf(without, "train", 1);
      tableOf(changed, "train", 1).forEach(({ completion, reward, scores }, i) => {
        assert.deepEqual(scores, { "rewards/letters": completion.length, "rewards/watched": 9 });
        assert.ok(Math.abs(reward - (before[i].reward + 0.5 * completion.length)) < 1e-9);
      });
      assert.equal(rowsOf(changed)[0]["rewards/watched/mean"], 9);
    },
  },
  {
    key: "cost_functions",
    value: [`${scratch("judges.ts")}#watched:2`],
    seen: "costs are that function's, where no service and no score models judge",
    given: { scorer_url: null, reward_model: "/none", reward_functions: [`${scratch("judges.ts")}#letters`] },
    prepare: writeJudges,
    check(changed, without) {
      assert.deepEqual(tableOf(changed, "train", 1).map(({ cost }) => cost), Array(8).fill(18));
      assert.deepEqual(tableOf(without, "train", 1).map(({ cost }) => cost), Array(8).fill(0));
      assert.deepEqual([...changed.batches, ...without.batches], []);
    },
  },
  {
    key: "rewards",
    value: [{ name: "letters", weight: 0.25 }, { name: "watched", weight: 0 }],
    seen: "the reward is the sum of those named, by the weights that stand there",
    given: {
      scorer_url: null,
      reward_model: "/none",
      reward_functions: [`${scratch("judges.ts")}#letters`, `${scratch("judges.ts")}#watched`],
    },
    prepare: writeJudges,
    check(changed, without) {
      const letters = ({ completion }: { completion: string }) => completion.length;
      for (const sample of tableOf(changed, "train", 1)) assert.equal(sample.reward, letters(sample) / 4);
      for (const sample of tableOf(without, "train", 1)) assert.equal(sample.reward, letters(sample) + 9);
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
    key: "scorer_retry_max_s",
    value: 0.4,
    seen: "a scorer that is busy is asked again for so long",
    prepare: ({ scorer }) => scorer.refusal = 503,
    fails: /POST \/score_batch, \d+ attempts; last error: 503: busy/,
    failsWithout: /POST \/score_batch, 1 attempt; last error: 503: busy/,
    check: (changed, without) =>
      assert.deepEqual([changed.batches.length > 1, without.batches.length], [true, 1]),
  },
  {
    key: "scorer_max_abs_score",
    value: 0.01,
    seen: "larger scores are refused with the prompt that they answer",
    fails:
      /broke the contract: .*"rewards"\[\d\] is -?[\d.]+, for an answer to "[a-z ]+"; .*between -0.01 and 0.01/,
  },
  {
    key: "scorer_route",
    value: "score_texts",
    seen: "whole conversations are sent, of the same prompts and completions",
    check(changed, _without, { scorer }) {
      assert.deepEqual(changed.batches, []);
      const texts = tableOf(changed, "train", 1).map(({ prompt, completion }) =>
        `${formatPrompt(String(prompt))}${completion}`
      );
      assert.equal(scorer.others[0].path, "/score_texts");
      assert.deepEqual(scorer.others[0].body.texts, texts);
    },
  },
  {
    key: "scorer_token_file",
    value: scratch("token"),
    seen: "the token in the file goes along with every request, the health's too",
    prepare: () => writeFileSync(scratch("token"), "s3cret\n", { mode: 0o600 }),
    check(changed, _without, { scorer }) {
      assert.equal(rowsOf(changed).length, 2);
      assert.deepEqual([...scorer.tokens], ["Bearer s3cret"]);
      assert.ok(!changed.output.includes("s3cret"));
    },
  },
];
