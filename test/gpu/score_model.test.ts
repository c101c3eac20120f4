/** LlamaForScore: what a score depends on, and what it does not. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import {
  loadScoreModel,
  normalizeScore,
  type ScoreModel,
  scoreSequences,
} from "../../src/policy/score_model.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { cutCommonBeginnings } from "../../src/policy/shared_prefix.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";
import { TINY_CONFIG, tinySource } from "./tiny_policy.ts";

const CONFIG = { ...TINY_CONFIG, score_dim: 1, score_type: "reward", do_normalize: false };
const TEXTS = [[1, 5, 9, 2], [1, 7, 44, 12, 30, 2], [1, 2], [1, 60, 3, 3, 8, 21, 40, 13, 2]];

/** The tiny trunk with a head, and what else is given by name. */
function withHead(extra: Record<string, number[]> = {}): WeightSource {
  const trunk = tinySource();
  const own: Record<string, number[]> = {
    "score_head.weight": Array.from({ length: TINY_CONFIG.hidden_size }, (_, d) => Math.sin(d)),
    ...extra,
  };
  return hostSource({
    path: "tiny score model",
    shapeOf: (name) => {
      if (name === "score_head.weight") return [1, TINY_CONFIG.hidden_size];
      if (name in own) return [own[name].length];
      return name.startsWith("model.") ? trunk.shapeOf(name) : undefined;
    },
    read: (name) => name in own ? Promise.resolve(Float32Array.from(own[name])) : trunk.read(name),
  });
}

const load = (source: WeightSource, config: Record<string, unknown> = CONFIG): Promise<ScoreModel> =>
  loadScoreModel(source, parseScoreConfig(JSON.stringify(config), "tiny"));

describe("a score model", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("gives a text the same bits alone, among others and in any order", async () => {
    const model = await load(withHead());
    const together = await scoreSequences(model, TEXTS);
    for (let i = 0; i < TEXTS.length; i++) {
      assert.equal((await scoreSequences(model, [TEXTS[i]]))[0], together[i]);
    }
    assert.deepEqual(await scoreSequences(model, [...TEXTS].reverse()), [...together].reverse());
    assert.equal(new Set(together).size, TEXTS.length, "different texts, different scores");
  });

  it("gives completions of one prompt, which share its pass, the bits that each gets alone", async () => {
    const model = await load(withHead());
    const prompts = [[1, 9, 33, 17, 5, 4, 28], [1, 9, 8, 7, 6, 5, 44, 3]];
    const texts = prompts.flatMap((
      prompt,
    ) => [[...prompt, 2], [...prompt, 12, 30, 2], [...prompt, 12, 31, 40, 2]]);
    assert.notEqual(cutCommonBeginnings(texts), null, "they are shared");
    const together = await scoreSequences(model, texts);
    for (let i = 0; i < texts.length; i++) {
      assert.equal((await scoreSequences(model, [texts[i]]))[0], together[i]);
    }
  });

  it("reads a bias if and only if the weights hold one", async () => {
    const [plain, biased] = [await load(withHead()), await load(withHead({ "score_head.bias": [0.5] }))];
    const difference = (await scoreSequences(biased, TEXTS))[0] - (await scoreSequences(plain, TEXTS))[0];
    assert.ok(Math.abs(difference - 0.5) < 1e-5, `bias 0.5 moved the score by ${difference}`); // one f32 addition
  });

  it("normalises a reward by mean and deviation, and a cost by the deviation alone: its sign is kept", () => {
    const normalizer = { mean: 3, variance: 4 };
    assert.ok(Math.abs(normalizeScore(1, { type: "reward", normalizer }) - -1) < 1e-7);
    assert.ok(Math.abs(normalizeScore(1, { type: "cost", normalizer }) - 0.5) < 1e-7);
    assert.equal(normalizeScore(1, { type: "cost", normalizer: null }), 1);
  });

  it("takes the normaliser from the weights, else from config.json, and says when neither has it", async () => {
    const normalized = { ...CONFIG, do_normalize: true };
    const fromWeights = await load(withHead({ "normalizer.mean": [3], "normalizer.var": [4] }), normalized);
    assert.deepEqual(fromWeights.normalizer, { mean: 3, variance: 4 });
    const fromConfig = await load(withHead(), { ...normalized, mean: [3], var: [[4]] });
    assert.deepEqual(fromConfig.normalizer, { mean: 3, variance: 4 });
    await assert.rejects(load(withHead(), normalized), /do_normalize is on, but neither/);
  });

  it("an empty text is refused, an empty list is not", async () => {
    const model = await load(withHead());
    assert.deepEqual(await scoreSequences(model, []), []);
    await assert.rejects(scoreSequences(model, [[1], []]), /need at least one token/);
  });

  it("a tensor whose shape is not that of config.json is named with both shapes", async () => {
    const source = withHead();
    const wrong = {
      ...source,
      shapeOf: (name: string) => name.includes("k_proj") ? [32, 32] : source.shapeOf(name),
    };
    await assert.rejects(
      load(wrong),
      /k_proj\.weight" must have shape \[16,32\] by config\.json, has \[32,32\]/,
    );
    const missing = {
      ...source,
      shapeOf: (name: string) => name.endsWith("model.norm.weight") ? undefined : source.shapeOf(name),
    };
    await assert.rejects(load(missing), /"model\.norm\.weight" is missing/);
  });
});
