/** Effects of the group "Model and prompts". */
import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promptsOfGeneration } from "../../src/rl/rng.ts";
import { tokenCount } from "./config_by_hand.ts";
import type { Effect } from "./config_effect.ts";
import {
  evalRowsOf,
  namesIn,
  promptsAsked,
  rowsOf,
  runFolderOf,
  tableOf,
  tensorsIn,
  weightsOf,
} from "./config_read.ts";
import { EVAL_PROMPTS, PROMPTS, QUESTIONS, type Ran, scratch } from "./config_run.ts";

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

/** Tokens of a step's prompts: all that are counted, less those of its completions. */
function promptTokens(ran: Ran): number {
  const completions = tableOf(ran, "train", 1).map(({ completion }) => tokenCount(completion, 6));
  return rowsOf(ran)[0].num_tokens! - completions.reduce((all, own) => all + own, 0);
}

/** The same where `around` stands around each prompt, a character being a token. */
const tokensWith = (ran: Ran, around: string) =>
  tableOf(ran, "train", 1).reduce((all, { prompt }) => all + around.length + prompt.length, 0);

const TEMPLATE = `file:${scratch("template.jinja")}`;

export const MODEL_EFFECTS: readonly Effect[] = [
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
    key: "allow_new_prompts",
    value: true,
    seen: "a run goes on where its file of prompts has grown, which is told; without it that is refused",
    given: { train_jsonl: scratch("growing.jsonl") },
    prepare: () => writeFileSync(scratch("growing.jsonl"), readFileSync(scratch("train.jsonl"))),
    continues: true,
    between: () => appendFileSync(scratch("growing.jsonl"), '{"prompt": "violet"}\n'),
    failsWithout:
      /its prompts are others: train_jsonl '.*growing\.jsonl' has sha256 \w{12}, and the run began with/,
    check(changed) {
      assert.match(
        changed.output,
        /^Changed train_jsonl: "sha256 \w{12}" -> "sha256 \w{12}", from step 3 on$/m,
      );
    },
  },
  {
    key: "prompt_key",
    value: "question",
    seen: "prompts are read from that key",
    check: (changed) => assertAmong(promptsAsked(changed), QUESTIONS),
  },
  {
    key: "skip_bad_rows",
    value: true,
    seen: "a row without a prompt is left out and told of; without it the run is refused, and names the row",
    given: { train_jsonl: scratch("holes.jsonl") },
    failsWithout: /holes\.jsonl', line 2: required the key "prompt", keys present: "text"/,
    check(changed) {
      assertAmong(promptsAsked(changed), PROMPTS);
      assert.match(
        changed.output,
        /holes\.jsonl': 1 bad row was skipped\. The first: .*line 2: required the key/,
      );
      assert.equal(rowsOf(changed)[1].epoch, 2 * 2 / PROMPTS.length);
    },
  },
  {
    key: "chat_template",
    value: "none",
    seen: "the policy reads BOS and the text, without the template around it; the same texts are scored",
    check(changed, without) {
      assert.equal(promptTokens(changed), tokensWith(changed, "^"));
      assert.equal(
        promptTokens(without),
        tokensWith(without, "^BEGINNING OF CONVERSATION: USE#  ASSISTANT:"), // "R:" is one token
      );
      assertAmong(promptsAsked(changed), PROMPTS);
    },
  },
  {
    key: "chat_template",
    value: TEMPLATE,
    seen:
      "the policy reads what that file's template makes of the text; the model is saved with that template",
    given: { use_peft: true, lora_r: 2, lora_merge: true, save_steps: 1 },
    check(changed, without) {
      assert.equal(promptTokens(changed), tokensWith(changed, "[user]  :"));
      const template = readFileSync(scratch("template.jinja"), "utf8");
      const places = [".", "checkpoint-1", "checkpoint-2", "merged"];
      const saved = places.map((place) => join(runFolderOf(changed), place, "chat_template.jinja"));
      assert.deepEqual(saved.map((path) => readFileSync(path, "utf8")), places.map(() => template));
      for (const place of places) assert.deepEqual(namesIn(without, place, /^chat_template/), []);
    },
  },
  {
    key: "system_prompt",
    value: "Rhyme.",
    seen: "the policy reads it before the user's text; the scorer is told the same texts",
    given: { chat_template: TEMPLATE },
    check(changed) {
      assert.equal(promptTokens(changed), tokensWith(changed, "[system] Rhyme. [user]  :"));
      assertAmong(promptsAsked(changed), PROMPTS);
    },
  },
  {
    key: "system_prompt",
    value: "Rhyme.",
    seen: "Beaver's layout has no place for it, which is said",
    fails: /Cannot use system_prompt with chat_template "beaver".*set chat_template/,
  },
  {
    key: "chat_template_kwargs",
    value: { mood: "sad" },
    seen: "the template reads them",
    given: { chat_template: TEMPLATE },
    check: (changed) => assert.equal(promptTokens(changed), tokensWith(changed, "[user]  sad:")),
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
    key: "max_samples",
    value: 2,
    seen: "evaluation prompts are never cut",
    given: { eval_jsonl: scratch("eval.jsonl"), max_steps: 1 },
    check(changed, without) {
      const counts = [changed, without].map((ran) => evalRowsOf(ran).at(-1)!["eval/total_samples"]);
      assert.deepEqual(counts, [5, 5]);
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
      // 11 bits of each factor: the loss after one update is a little off.
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
      const truncated = [changed, without].map((ran) => rowsOf(ran)[0]["prompts/truncated_ratio"]);
      assert.deepEqual(truncated, [1, 0]);
      const lengths = tableOf(changed, "train", 1).map(({ completion }) => tokenCount(completion, 6));
      assert.equal(rowsOf(changed)[0].num_tokens, lengths.reduce((all, own) => all + 46 + own, 0));
    },
  },
  {
    key: "seed",
    value: 7,
    seen: "prompts come in its order, and the run's folder has its name",
    given: { max_samples: 4 },
    check(changed, without) {
      for (const [ran, seed] of [[changed, 7], [without, 42]] as const) {
        const order = promptsOfGeneration(0, { promptCount: 4, promptsPerGeneration: 2, seed });
        const asked = [...new Set(tableOf(ran, "train", 1).map(({ prompt }) => prompt))];
        assert.deepEqual(asked, order.map((place) => PROMPTS[place]));
        assert.match(runFolderOf(ran), new RegExp(`beta0.1_seed${seed}_unified$`));
      }
    },
  },
  {
    key: "seed",
    value: 7,
    seen: "of the same prompt in the same places other completions are drawn",
    given: { max_samples: 1 },
    check: (changed, without) => {
      const completionsOf = (ran: Ran) => tableOf(ran, "train", 1).map(({ completion }) => completion);
      assert.notDeepEqual(completionsOf(changed), completionsOf(without));
    },
  },
];
