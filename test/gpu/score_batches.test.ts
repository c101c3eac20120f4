/** Scores of batches after others, of texts as long as the model goes, and of normalisers at their edges. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { disposePasses, makePassReplays } from "../../src/policy/pass_replays.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  normalizeScore,
  type ScoreModel,
  scoreSequences,
} from "../../src/policy/score_model.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { TINY_CONFIG, tinySource } from "./tiny_policy.ts";

const HEAD = "score_head.weight";

/** The tiny trunk with a head, and what else is given by name. @param names of all tensors of its file */
function load(extra: Record<string, number[]> = {}, config: object = {}, names?: string[]) {
  const trunk = tinySource();
  const own: Record<string, number[]> = {
    [HEAD]: Array.from({ length: TINY_CONFIG.hidden_size }, (_, d) => Math.sin(d)),
    ...extra,
  };
  const source = hostSource({
    path: "tiny score model",
    names: names && (() => names),
    shapeOf: (name) => {
      if (name === HEAD) return [1, TINY_CONFIG.hidden_size];
      if (name in own) return [own[name].length];
      return name.startsWith("model.") ? trunk.shapeOf(name) : undefined;
    },
    read: (name) => name in own ? Promise.resolve(Float32Array.from(own[name])) : trunk.read(name),
  });
  return loadScoreModel(source, parseScoreConfig(JSON.stringify({ ...TINY_CONFIG, ...config }), "tiny"));
}

const tokens = (count: number, first: number) =>
  Array.from({ length: count }, (_, i) => 3 + (first + 7 * i) % 50);

describe("a score model", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("gives a batch the same scores when batches of other lengths came between", async () => {
    /** Texts on so many prompts of so many tokens, two on each. */
    const texts = (prompts: number, promptTokens: number, ownTokens: number) =>
      Array.from({ length: 2 * prompts }, (_, t) => [
        ...tokens(promptTokens, 5 * Math.floor(t / 2)),
        ...tokens(ownTokens, 13 * t),
      ]);
    // Few rows of prompts with many of completions, so that small passes are kept; then prompts of few rows, of many,
    // whose keys take the place of the first ones', and of few again.
    const [large, few, many] = [texts(3, 20, 40), texts(3, 20, 3), texts(6, 30, 3)];
    const model = await load();
    await scoreSequences(model, large);
    const before = await scoreSequences(model, few);
    await scoreSequences(model, many);
    assert.deepEqual(await scoreSequences(model, few), before);
    assert.deepEqual(
      before,
      await scoreSequences(await load(), few),
      "as by a model that scored nothing before",
    );
  });

  it("keeps after a batch no more memory than plans of the largest take", async () => {
    const { memory } = await openGpu();
    const bytesAfter = async (model: ScoreModel, textLength: number) => {
      await scoreSequences(model, [tokens(textLength, 1), tokens(textLength, 9), tokens(textLength, 17)]);
      trimPool();
      return memory().liveBytes;
    };
    const other = await load();
    for (const length of [60, 6]) await bytesAfter(other, length);
    disposeScoreModel(other); // the uniforms of its kernels stay
    const model = await load();
    const afterLarge = await bytesAfter(model, 60);
    assert.equal(await bytesAfter(model, 6), afterLarge);
    assert.equal(await bytesAfter(model, 60), afterLarge);
    disposeScoreModel(model);
  });

  it("gives its plans' memory back after each batch where that is much, and scores as before", async () => {
    const { memory } = await openGpu();
    const model = await load();
    const texts = [tokens(60, 1), tokens(60, 9)];
    const expected = await scoreSequences(model, texts);
    disposePasses(model.replays);
    trimPool();
    const { liveBytes } = memory();
    model.replays = makePassReplays({ keptBytes: 0 });
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(await scoreSequences(model, texts), expected);
      trimPool();
      assert.equal(memory().liveBytes, liveBytes);
    }
    disposeScoreModel(model);
  });

  it("keeps nothing of a batch but plans, and leaves nothing when it is freed", async () => {
    const { memory } = await openGpu();
    const held = () => {
      trimPool();
      return { bytes: memory().liveBytes, tensors: tf.memory().numTensors };
    };
    const batches = [[tokens(9, 1), tokens(5, 9)], [[...tokens(12, 3), 4], [...tokens(12, 3), 5]]];
    const scoreAll = async (model: ScoreModel) => {
      for (const texts of batches) await scoreSequences(model, texts);
      return held();
    };
    const other = await load();
    await scoreAll(other);
    disposeScoreModel(other); // the uniforms of its kernels stay
    const before = held();
    const model = await load();
    const first = await scoreAll(model);
    assert.deepEqual(await scoreAll(model), first);
    disposeScoreModel(model);
    assert.deepEqual(held(), before);
  });

  it("takes a mean of 0 from its weights, not from config.json", async () => {
    const extra = { "normalizer.mean": [0], "normalizer.var": [4] };
    const { normalizer } = await load(extra, { do_normalize: true, mean: [3], var: [9] });
    assert.deepEqual(normalizer, { mean: 0, variance: 4 });
  });

  it("reads a text to the model's last position as a model that goes further reads it", async () => {
    const text = tokens(TINY_CONFIG.max_position_embeddings, 1);
    const further = await load({}, { max_position_embeddings: 4 * text.length });
    assert.deepEqual(await scoreSequences(await load(), [text]), await scoreSequences(further, [text]));
  });

  it("may hold the head of what it was made of and the normaliser's count, and nothing else unread", async () => {
    const names = [HEAD, "lm_head.weight", "normalizer.count", "normalizer.mean", "normalizer.var"];
    await load({}, {}, names);
    await assert.rejects(load({}, {}, [...names, "critic.weight"]), /a model without critic\.weight/);
  });
});

describe("what a score model's files say", () => {
  const parse = (changes: object) =>
    parseScoreConfig(JSON.stringify({ ...TINY_CONFIG, ...changes }), "m/config.json");

  it("is a reward unless they say cost, of one dimension, and raw unless they ask for more", () => {
    const { type, doNormalize } = parse({});
    assert.deepEqual({ type, doNormalize }, { type: "reward", doNormalize: false });
    assert.equal(parse({ score_type: "cost" }).type, "cost");
    assert.throws(() => parse({ score_type: "value" }), /m\/config\.json: score_type .*"value"/);
    assert.throws(() => parse({ score_dim: 2 }), /score_dim must be 1, got 2/);
  });

  it("a normaliser that has seen no spread divides by its epsilon, not by zero", () => {
    const normalizer = { mean: 1, variance: 0 };
    assert.equal(normalizeScore(3, { type: "reward", normalizer }), 2 / 1e-8);
    assert.equal(normalizeScore(1, { type: "reward", normalizer }), 0);
  });
});
