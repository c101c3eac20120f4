/** What a generator keeps from batch to batch, and where a model's positions end. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import {
  type Completion,
  createGenerator,
  type GenerationOptions,
} from "../../src/policy/decode/generate.ts";
import { blockBytes } from "../../src/policy/decode/kv_blocks.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { TINY_CONFIG, tinyPolicy } from "./tiny_policy.ts";

const OPTIONS: GenerationOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  eosIds: [],
  maxTokens: 9,
  readbackEvery: 4,
  blockTokens: 4,
};
const PLACE = { seed: 11, step: 3 };
const SHORT = [[1, 5, 9], [1, 7]];
const LONG = [[1, 60, 3, 3, 8, 21, 40, 13, 14, 15, 16, 17, 18, 19], [1, 5, 9, 33, 12]];

describe("a generator", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  const alone = async (prompts: number[][], groupSize: number, options = OPTIONS) => {
    const generator = createGenerator(policy, options);
    const completions = await generator.generate({ prompts, groupSize, ...PLACE });
    const { recordings, cacheBytes } = generator.usage!;
    generator.dispose();
    return { completions, recordings, cacheBytes };
  };

  it("gives longer prompts after short ones, and short ones again, what it gives them alone", async () => {
    const generator = createGenerator(policy, OPTIONS);
    for (const prompts of [SHORT, LONG, SHORT]) {
      const completions = await generator.generate({ prompts, groupSize: 3, ...PLACE });
      assert.deepEqual(completions, (await alone(prompts, 3)).completions);
    }
    generator.dispose();
  });

  it("keeps no plan for a number of rows that the batch at hand does not need", async () => {
    // Of 24 rows all but three end at the first look: plans for 24 rows and for 4.
    const ending = {
      prompts: SHORT,
      groupSize: 12,
      ...PLACE,
      findStop: (tokens: readonly number[]) => tokens.length > 5 || tokens[0] < 50 ? 1 : null,
    };
    const few = { prompts: SHORT.slice(0, 1), groupSize: 3, ...PLACE };
    const tensorsAfter = async (...requests: (typeof few)[]) => {
      const before = tf.memory().numTensors;
      const generator = createGenerator(policy, OPTIONS);
      for (const request of requests) await generator.generate(request);
      const tensors = tf.memory().numTensors - before;
      generator.dispose();
      return tensors;
    };
    assert.equal(await tensorsAfter(ending, few), await tensorsAfter(few));
  });

  it("leaves nothing on the GPU when it is freed, however its cache grew and its rows ended", async () => {
    const { memory } = await openGpu();
    const options = { ...OPTIONS, maxTokens: 30, blockTokens: 2 };
    const findStop = (tokens: readonly number[]) =>
      tokens.length > tokens[0] % 30 ? 1 + tokens[0] % 30 : null;
    const heldAfter = async () => {
      const generator = createGenerator(policy, options);
      await generator.generate({ prompts: LONG, groupSize: 12, ...PLACE, findStop });
      const { recordings } = generator.usage!;
      assert.ok(recordings > 2, `${recordings} plans were recorded`);
      generator.dispose();
      trimPool();
      return { bytes: memory().liveBytes, tensors: tf.memory().numTensors };
    };
    const first = await heldAfter();
    assert.deepEqual(await heldAfter(), first);
  });

  const GROWING = { ...OPTIONS, maxTokens: 41, readbackEvery: 1, blockTokens: 2 };
  const MOST_BYTES = () => (1 + 5 * 20) * blockBytes(policy.config, 2, "f32");

  it("records its plan once, however often its cache grows under it or is freed in between", async () => {
    const whole = await alone([[1, 5]], 5, { ...GROWING, readbackEvery: 40 });
    const generator = createGenerator(policy, { ...GROWING, keptBytes: 0 });
    for (const expected of [1, 0, 0]) {
      const completions = await generator.generate({ prompts: [[1, 5]], groupSize: 5, ...PLACE });
      assert.deepEqual(completions, whole.completions);
      assert.deepEqual(
        [generator.usage!.recordings, generator.usage!.cacheBytes],
        [expected, MOST_BYTES()],
      );
    }
    generator.dispose();
  });

  it("has one memory for the plans of all widths, as much as the widest needs", async () => {
    const { memory } = await openGpu();
    const findStop = (tokens: readonly number[]) => tokens[0] < 50 ? 1 : null;
    const heldAfter = async (request: { findStop?: typeof findStop }) => {
      const generator = createGenerator(policy, { ...OPTIONS, keptBytes: 0 });
      await generator.generate({ prompts: SHORT, groupSize: 12, ...PLACE, ...request });
      trimPool();
      const { recordings } = generator.usage!;
      const bytes = memory().liveBytes;
      generator.dispose();
      return { recordings, bytes };
    };
    await heldAfter({ findStop }); // uniforms stay
    const [widest, all] = [await heldAfter({}), await heldAfter({ findStop })];
    assert.ok(widest.recordings === 1 && all.recordings > 1);
    // Beside it a narrower lane has its tables and tokens: 15 numbers a token, a few beside.
    assert.ok(
      all.bytes - widest.bytes < 12 * 4 * (OPTIONS.maxTokens + 40),
      `${all.bytes - widest.bytes} bytes more`,
    );
  });

  it("takes all of its cache at once where that is planned, also where completions end before", async () => {
    const findStop = () => 1;
    for (const [reservesCache, isWhole] of [[true, true], [false, false]]) {
      const generator = createGenerator(policy, { ...GROWING, reservesCache });
      await generator.generate({ prompts: [[1, 5]], groupSize: 5, ...PLACE, findStop });
      assert.equal(generator.usage!.cacheBytes === MOST_BYTES(), isWhole);
      generator.dispose();
    }
  });

  it("takes no room for the last token, whose key nobody reads", async () => {
    const options = { ...OPTIONS, maxTokens: 5, readbackEvery: 9 };
    const { cacheBytes } = await alone([[1, 5]], 6, options);
    assert.equal(
      cacheBytes / blockBytes(policy.config, 4, "f32"),
      1 + 6,
      "a block of the prompt, one of each row",
    );
  });

  it("hands over each prompt's completions when the last has ended, whole and in their order", async () => {
    const groups: [prompt: number, completions: Completion[]][] = [];
    const generator = createGenerator(policy, OPTIONS);
    const completions = await generator.generate({
      prompts: LONG,
      groupSize: 3,
      ...PLACE,
      findStop: (tokens) => tokens.length > tokens[0] % 9 ? 1 + tokens[0] % 9 : null,
      onGroup: (prompt, group) => void groups.push([prompt, group]),
    });
    generator.dispose();
    groups.sort(([a], [b]) => a - b);
    assert.deepEqual(groups, [[0, completions.slice(0, 3)], [1, completions.slice(3)]], "each once");
  });

  it("uses a model's positions to the last, and refuses one token more", async () => {
    const options = { ...OPTIONS, maxTokens: 3 };
    const most = TINY_CONFIG.max_position_embeddings - options.maxTokens;
    const prompt = (length: number) => Array.from({ length }, (_, i) => 3 + i % 50);
    const { completions } = await alone([prompt(most)], 1, options);
    assert.equal(completions[0].tokens.length, 3);
    await assert.rejects(
      alone([prompt(most + 1)], 1, options),
      /3 tokens after a prompt of 62: the model has 64/,
    );
  });
});
