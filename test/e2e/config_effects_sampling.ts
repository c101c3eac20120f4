/** Effects of the group "Sampling". */
import assert from "node:assert/strict";
import { tokenCount } from "./config_by_hand.ts";
import { assertMore, type Effect } from "./config_effect.ts";
import { idOf } from "./config_models.ts";
import { plannedBytes, rowsOf, tableOf } from "./config_read.ts";
import { PROMPTS, type Ran, scratch, type Settings } from "./config_run.ts";

/** Evaluates greedily what it trains on, with the weights that it trains on. */
const HELD_AGAINST_GREEDY: Settings = {
  eval_jsonl: scratch("train.jsonl"),
  learning_rate: 1e-12,
  lambda_adapt: false,
  max_steps: 1,
};

/** Whether every completion of the training table is the one that evaluation, which is greedy, made of its prompt. */
function isGreedy(ran: Ran): boolean {
  const greedy = new Map(tableOf(ran, "eval", 1).map(({ prompt, completion }) => [prompt, completion]));
  assert.equal(greedy.size, PROMPTS.length);
  return tableOf(ran, "train", 1).every(({ prompt, completion }) => greedy.get(prompt) === completion);
}

function becomesGreedy(changed: Ran, without: Ran): void {
  assert.deepEqual([isGreedy(changed), isGreedy(without)], [true, false]);
  assert.deepEqual(tableOf(changed, "eval", 1), tableOf(without, "eval", 1), "evaluation is what it was");
}

const textOf = (prompt: string) => `BEGINNING OF CONVERSATION: USER: ${prompt} ASSISTANT:`;

/** Characters that stand in the text before them. */
const repeated = (ran: Ran): string[] =>
  tableOf(ran, "train", 1).flatMap(({ prompt, completion }) =>
    [...completion].filter((letter, i) => (textOf(prompt) + completion.slice(0, i)).includes(letter))
  );

/** Completions end at letters, so that the groups end at different tokens. */
const ENDS_AT_LETTERS: Settings = {
  stop_strings: [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"],
  max_completion_length: 12,
  max_steps: 6,
  scorer_batch_size: 4,
};

/** At which token each group of a step was seen to have ended, in the order of the table: the first look is at two. */
function longestOfGroups(ran: Ran, step: number): Map<string, number> {
  const longest = new Map<string, number>();
  for (const { prompt, completion } of tableOf(ran, "train", step)) {
    longest.set(prompt, Math.max(longest.get(prompt) ?? 2, tokenCount(completion, 12)));
  }
  return longest;
}

export const SAMPLING_EFFECTS: readonly Effect[] = [
  {
    key: "num_generations",
    value: 2,
    seen: "two completions of each prompt, so the batch of eight has four prompts",
    check(changed, without) {
      const prompts = tableOf(changed, "train", 1).map(({ prompt }) => prompt);
      assert.equal(new Set(prompts).size, 4);
      for (let i = 0; i < 8; i += 2) assert.equal(prompts[i], prompts[i + 1]);
      assert.equal(rowsOf(changed)[0].epoch, 4 / 6);
      assert.equal(new Set(tableOf(without, "train", 1).map(({ prompt }) => prompt)).size, 2);
    },
  },
  {
    key: "max_completion_length",
    value: 3,
    seen: "a completion has three tokens at most, and is the beginning of the longer one",
    check(changed, without) {
      assert.equal(rowsOf(changed)[0]["completions/max_length"], 3);
      const longer = tableOf(without, "train", 1);
      tableOf(changed, "train", 1).forEach(({ completion }, i) => {
        assert.equal(completion, longer[i].completion.slice(0, 3));
      });
    },
  },
  {
    key: "temperature",
    value: 0.001,
    seen: "sampling becomes greedy, and the entropy of what the loss reads goes to 0",
    given: HELD_AGAINST_GREEDY,
    check(changed, without) {
      becomesGreedy(changed, without);
      const [sharp, soft] = [changed, without].map((ran) => rowsOf(ran)[0].entropy!);
      assert.ok(sharp < 0.1 && soft > 3, `${sharp} ${soft}`);
    },
  },
  {
    key: "top_p",
    value: 1e-6,
    seen: "the likeliest token alone has that mass: sampling becomes greedy",
    given: HELD_AGAINST_GREEDY,
    check: becomesGreedy,
  },
  {
    key: "top_k",
    value: 1,
    seen: "sampling becomes greedy",
    given: HELD_AGAINST_GREEDY,
    check: becomesGreedy,
  },
  {
    key: "min_p",
    value: 1,
    seen: "no token but the likeliest has its probability: sampling becomes greedy",
    given: HELD_AGAINST_GREEDY,
    check: becomesGreedy,
  },
  {
    key: "repetition_penalty",
    value: 1e6,
    seen: "no completion repeats a character, of its own or of its prompt; evaluation does as before",
    given: { ...HELD_AGAINST_GREEDY, top_k: 1 },
    check(changed, without) {
      assert.deepEqual(repeated(changed), []);
      assertMore(repeated(without).length, 0);
      assert.deepEqual(tableOf(changed, "eval", 1), tableOf(without, "eval", 1));
    },
  },
  {
    key: "stop_strings",
    value: ["d", "K"],
    seen: "completions are those without it, cut before the first of these and counted up to it",
    check(changed, without) {
      const cut = tableOf(without, "train", 1).map(({ completion }) => completion.split(/[dK]/)[0]);
      assert.deepEqual(tableOf(changed, "train", 1).map(({ completion }) => completion), cut);
      const lengths = cut.map((text) => tokenCount(text, 6));
      assert.equal(rowsOf(changed)[0]["completions/mean_length"], lengths.reduce((a, b) => a + b) / 8);
      const ratioOf = (ran: Ran) => rowsOf(ran)[0]["completions/clipped_ratio"]!;
      assertMore(ratioOf(without), ratioOf(changed));
    },
  },
  {
    key: "eos_token_ids",
    value: [idOf("d"), idOf("K")],
    seen:
      "completions end before the first of these and go on where they ended without it, at the model's own end",
    check(changed, without) {
      const before = tableOf(without, "train", 1).map(({ completion }) => completion);
      const after = tableOf(changed, "train", 1).map(({ completion }) => completion);
      after.forEach((text, i) =>
        assert.ok(text.startsWith(before[i].split(/[dK]/)[0]), `${text}, ${before[i]}`)
      );
      assert.doesNotMatch(after.join(""), /[dK]/);
      assert.ok(after.some((text, i) => text.length > before[i].length), "the end token no longer ends them");
      assert.ok(after.some((text, i) => text.length < before[i].length), "the letters do");
    },
  },
  {
    key: "readback_every",
    value: 1,
    seen: "a group is scored as soon as it has ended: the one that ends first goes first",
    given: ENDS_AT_LETTERS,
    check(changed, without) {
      let overtaken = 0;
      for (let step = 1; step <= 6; step++) {
        const longest = longestOfGroups(changed, step);
        const inOrder = [...longest.keys()];
        const byEnd = [...inOrder].sort((a, b) => longest.get(a)! - longest.get(b)!);
        const [first, second] = inOrder.map((prompt) => longest.get(prompt)!);
        if (first === second) continue;
        if (first > second) overtaken++;
        const asked = (ran: Ran) =>
          ran.batches.slice(2 * step - 2, 2 * step).map(({ prompts }) => prompts[0]);
        assert.deepEqual(asked(changed), byEnd, `step ${step}`);
        assert.deepEqual(asked(without), inOrder, `step ${step}`);
      }
      assertMore(overtaken, 0);
      assert.deepEqual(rowsOf(changed), rowsOf(without), "the same scores");
    },
  },
  {
    key: "kv_cache_dtype",
    value: "float16",
    seen: "generation takes less memory, and its log-probs are a little off",
    given: { kv_cache_dtype: "float32" },
    check(changed, without) {
      assertMore(plannedBytes(without, "generation"), plannedBytes(changed, "generation"));
      const off = [changed, without].map((ran) => rowsOf(ran)[0]["sampler/logprob_diff_max"]!);
      assertMore(off[0], 1e-5);
      assert.equal(off[1], 0);
    },
  },
];
