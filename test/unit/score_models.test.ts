/** Which models may judge, and which of their labels is the score. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type NamedScoreModel, scoreModelOf } from "../../src/assembly/score_models.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { TINY_CONFIG } from "../gpu/tiny_policy.ts";

const HEADS: Record<string, number[]> = {
  "score_head.weight": [1, TINY_CONFIG.hidden_size],
  "score.weight": [3, TINY_CONFIG.hidden_size],
};
const LABELS = { 0: "safe", 1: "rude", 2: "unsafe" };

/** A folder with one head, or none. */
const folder = (head: string, config: object) => ({
  configPath: "m/config.json",
  configText: JSON.stringify({ ...TINY_CONFIG, ...config }),
  source: hostSource({
    path: "m/model.safetensors",
    shapeOf: (name) => name === head ? HEADS[name] : undefined,
    read: () => Promise.resolve(new Float32Array()),
  }),
});
const classifier = (config: object = {}) =>
  folder("score.weight", { architectures: ["Qwen2ForSequenceClassification"], id2label: LABELS, ...config });
const beaver = (type: string) =>
  folder("score_head.weight", { architectures: ["LlamaForScore"], score_type: type });

const asReward: NamedScoreModel = { type: "reward", name: "m", label: null };
const asCost: NamedScoreModel = { type: "cost", name: "m", label: null };
const labelIn = (model: ReturnType<typeof folder>, wanted: NamedScoreModel) =>
  scoreModelOf(model, wanted).label;

describe("a score model", () => {
  it("of safe-rlhf gives what its config.json says, and nothing else", () => {
    assert.equal(labelIn(beaver("reward"), asReward), 0);
    assert.equal(labelIn(beaver("cost"), asCost), 0);
    assert.throws(
      () => labelIn(beaver("reward"), asCost),
      /^TypeError: cost_model=m: config.json says score_type "reward", need "cost"; are reward_model and cost_model/,
    );
    assert.throws(
      () => labelIn(beaver("cost"), { ...asCost, label: "x" }),
      /no labels; set cost_label to null, got x/,
    );
  });

  it("that is a classifier gives the label that a setting names, by its number or its name", () => {
    assert.equal(labelIn(classifier(), { ...asReward, label: 0 }), 0);
    assert.equal(labelIn(classifier(), { ...asCost, label: "unsafe" }), 2);
    assert.equal(labelIn(classifier({ id2label: undefined }), { ...asCost, label: "LABEL_1" }), 1);
  });

  it("with several labels needs to be told which; the message lists them", () => {
    const list = 'set cost_label to one of 0 \\("safe"\\), 1 \\("rude"\\), 2 \\("unsafe"\\)$';
    assert.throws(
      () => labelIn(classifier(), asCost),
      new RegExp(`cost_model=m: 3 labels, and cost_label is null; ${list}`),
    );
    for (const label of [3, -1, "Safe", "0"]) {
      assert.throws(
        () => labelIn(classifier(), { ...asCost, label }),
        /which is none of the 3 labels/,
        String(label),
      );
    }
  });

  it("that names other labels than it has scores is refused", () => {
    assert.throws(
      () => labelIn(classifier({ id2label: { 0: "a", 1: "b" } }), { ...asReward, label: 0 }),
      /reward_model=m: config.json names 2 labels, but the weights give 3 scores/,
    );
    for (const id2label of [{}, { 1: "a" }, { 0: 5 }, "a"]) {
      assert.throws(
        () => labelIn(classifier({ id2label }), asReward),
        /id2label must name labels 0, 1, \.\.\./,
      );
    }
  });

  it("is none without a score head: the setting that names it is in the message", () => {
    const policy = folder("lm_head.weight", { architectures: ["LlamaForCausalLM"] });
    assert.throws(
      () => labelIn(policy, asReward),
      /^TypeError: reward_model=m: a score model is required, .*got LlamaForC/,
    );
  });
});

describe("the padding of a classifier", () => {
  const padOf = (config: object) => scoreModelOf(classifier(config), { ...asReward, label: 0 }).config.padId;

  it("is that of config.json; where it says nothing, its family's", () => {
    assert.equal(padOf({ pad_token_id: 7 }), 7);
    assert.equal(padOf({ pad_token_id: 0 }), 0);
    assert.equal(padOf({ pad_token_id: null }), null);
    assert.equal(padOf({}), null);
    assert.equal(padOf({ model_type: "gemma2", hidden_act: undefined }), 0);
    assert.equal(padOf({ model_type: "gemma2", hidden_act: undefined, pad_token_id: 3 }), 3);
    assert.throws(() => padOf({ pad_token_id: "0" }), /pad_token_id must be an integer or null, got "0"/);
  });
});
