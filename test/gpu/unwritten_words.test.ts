/**
 * No pass of a model reads a word that nobody wrote: with every tensor begun as NaNs and large numbers, those inside recorded plans at
 * every replay, all results have the same bits.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { emptyTensor, readFloats, writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { isStale, withGuardWords } from "../../src/gpu/trial_modes.ts";
import { createGenerator, type GenerationOptions } from "../../src/policy/decode/generate.ts";
import { makePassReplays } from "../../src/policy/pass_replays.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { loadScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import { copyFrozen, type Holding, listWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { createOptimizer } from "../../src/train/optimizer.ts";
import { prepareUpdate } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { TINY_CONFIG, tinyPolicy, tinySource } from "./tiny_policy.ts";
import { ROLLOUTS } from "./training_passes.ts";

const FAMILY = { model_type: "qwen2" };
const CONFIG: RunConfig = {
  ...defaultConfig(),
  beta: 0.1,
  seed: 3,
  num_generations: 3,
  num_iterations: 2,
  per_device_train_batch_size: 3,
  gradient_accumulation_steps: 2,
  max_completion_length: 8,
  importance_sampling_correction: true,
};
const SCORES = [1, 0.5, -1, 2, 0, 0.25];

/** Weights and moments after two optimizer steps on the same completions, and what was logged of them. */
async function trained(holding: Holding, rowsPerPass: number) {
  const policy = await tinyPolicy(holding, tinySource(), FAMILY);
  const learner = {
    policy,
    reference: { ...policy, weights: copyFrozen(policy.weights) },
    optimizer: createOptimizer(listWeights(policy.weights)),
    rowsPerPass,
    replays: { policy: makePassReplays(), reference: makePassReplays() },
  };
  const rollouts = ROLLOUTS.map((rollout) => ({
    prompt: rollout.prompt,
    tokens: [...rollout.tokens],
    logprobs: rollout.tokens.map((_, t) => -1 - t / 8),
    end: "eos" as const,
  }));
  const stats = [];
  for (const step of [0, 2]) {
    const prepared = prepareUpdate(learner, rollouts, step, 2, CONFIG);
    stats.push(
      await updatePolicy(learner, prepared, {
        combined: SCORES,
        learningRates: [1e-2, 1e-2],
        config: CONFIG,
      }),
    );
  }
  const tensors = learner.optimizer.slots.flatMap(({ master, firstMoment, secondMoment, weight }) => [
    master,
    firstMoment,
    secondMoment,
    weight.tensor,
  ]);
  return { stats, values: await Promise.all(tensors.map(async (tensor) => bitsOf(await tensor.data()))) };
}

function bitsOf({ buffer, byteOffset, length }: tf.TypedArray): Uint32Array {
  return new Uint32Array(buffer as ArrayBuffer, byteOffset, length);
}

const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23]];

/** Many completions of a cache that grows and of lanes that narrow; twice, so that plans are used again. */
async function generated(options: Partial<GenerationOptions>) {
  const policy = await tinyPolicy("frozen", tinySource(), FAMILY);
  const generator = createGenerator(policy, {
    temperature: 1,
    topP: 0.95,
    topK: 30,
    repetitionPenalty: 1.2,
    eosIds: [2, 11],
    maxTokens: 30,
    readbackEvery: 3,
    keepsLogprobs: true,
    ...options,
  });
  const request = { prompts: PROMPTS, groupSize: 5, seed: 11, step: 3 };
  const made = [await generator.generate(request), await generator.generate({ ...request, step: 4 })];
  generator.dispose();
  return made;
}

/** Texts without and with a common beginning, each list twice. */
async function scored() {
  const trunk = tinySource();
  const source = hostSource({
    ...trunk,
    shapeOf: (name) => name === "score_head.weight" ? [1, 32] : trunk.shapeOf(name),
    read: (name) =>
      name.startsWith("score_head")
        ? Promise.resolve(
          Float32Array.from({ length: name.endsWith("bias") ? 1 : 32 }, (_, d) => Math.sin(d + 1)),
        )
        : trunk.read(name),
  });
  const config = parseScoreConfig(JSON.stringify({ ...TINY_CONFIG, ...FAMILY }), "tiny");
  const model = await loadScoreModel(
    hostSource({
      ...source,
      shapeOf: (name) => name === "score_head.bias" ? [1] : source.shapeOf(name),
    }),
    config,
  );
  const apart = [[1, 5, 9, 2], [1, 7, 44, 12, 30, 2], [1, 2]];
  const alike = [1, 2, 3].map((n) => [...PROMPTS[2], 12, n, 2]);
  const scores = [];
  for (const texts of [apart, alike, apart, alike]) scores.push(...await scoreSequences(model, texts));
  return scores;
}

describe("words that nobody wrote", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  /** What `run` gives, the same with tensors begun as NaNs and large numbers. */
  async function assertUnread<R>(run: () => Promise<R>): Promise<R> {
    const expected = await run();
    assert.deepEqual(await withGuardWords(0, run), expected);
    return expected;
  }

  it("are NaNs and large numbers in a new tensor, and in those of a plan at every replay", async () => {
    const isNew = async (tensor: tf.Tensor) => (await readFloats(tensor)).every(isStale);
    assert.ok(await isNew(withGuardWords(0, () => emptyTensor([2, 4]))));
    const plan = withGuardWords(0, () => recordPlan(() => emptyTensor([2, 4])));
    for (let replay = 0; replay < 2; replay++) {
      plan.replay();
      assert.ok(await isNew(plan.outputs));
      writeTensor(plan.outputs, new Float32Array(8));
    }
    plan.dispose();
  });

  for (const [holding, rowsPerPass] of [["float32", 3], ["bfloat16", 1]] as const) {
    it(`are not read by training in ${holding}, ${rowsPerPass} completions a pass`, async () => {
      const { stats, values } = await assertUnread(() => trained(holding, rowsPerPass));
      assert.ok(stats.every((update) => update.gradNorm > 0));
      assert.ok(values.some((bits) => bits.some((word) => word !== 0)));
    });
  }

  for (const kvCacheDtype of ["float32", "float16"] as const) {
    it(`are not read by generation over a cache of ${kvCacheDtype}`, async () => {
      const [first, second] = await assertUnread(() => generated({ kvCacheDtype, blockTokens: 4 }));
      assert.notDeepEqual(first, second);
    });
  }

  it("are not read by a score model", async () => {
    const scores = await assertUnread(scored);
    assert.ok(scores.every(Number.isFinite));
  });
});
