/** How a generation is laid out in blocks and plans decides what it takes, never what it gives. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomInts } from "../cases/case.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import {
  type Completion,
  createGenerator,
  type GenerationOptions,
  type GenerationProgress,
  type GenerationRequest,
} from "../../src/policy/decode/generate.ts";
import { blockBytes, blocksFor, KV_CACHE_FORMAT } from "../../src/policy/decode/kv_blocks.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const OPTIONS: GenerationOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  eosIds: [2],
  maxTokens: 40,
  readbackEvery: 5,
};
/** Everything in one block, nobody leaves. */
const PLAIN: Partial<GenerationOptions> = { blockTokens: 64, compacts: false };
const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23]];

const bytesUsed = () => (tf.memory() as tf.MemoryInfo & { numBytesInGPU: number }).numBytesInGPU;

/** Ends a completion after a number of tokens that its first ones decide: most soon, a few late. */
function endsAnywhere(tokens: readonly number[]): number | null {
  const [drawn] = randomInts(tokens.slice(0, 3).reduce((sum, token) => 61 * sum + token, 7), 1, 40);
  const length = 3 + Math.floor(drawn * drawn / 40);
  return tokens.length >= length ? length : null;
}

describe("generation in blocks", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  const REQUEST: GenerationRequest = {
    prompts: PROMPTS,
    groupSize: 7,
    seed: 11,
    step: 3,
    findStop: endsAnywhere,
  };
  const run = async (options: Partial<GenerationOptions>, request: Partial<GenerationRequest> = {}) => {
    const generator = createGenerator(policy, { ...OPTIONS, ...options });
    const completions = await generator.generate({ ...REQUEST, ...request });
    const usage = generator.usage!;
    generator.dispose();
    return { completions, usage };
  };

  for (const blockTokens of [2, 8, 16, 32]) {
    it(`gives the same completions in blocks of ${blockTokens} tokens, with and without compaction`, async () => {
      const expected = (await run(PLAIN)).completions;
      assert.deepEqual((await run({ blockTokens, compacts: false })).completions, expected);
      assert.deepEqual((await run({ blockTokens })).completions, expected);
    });
  }

  it("gives the same completions whenever the host looks, whoever ends when, with every sampling option", async () => {
    const [sizes, looks, groups] = [1, 2, 3].map((seed) => randomInts(seed, 5, 100));
    for (let i = 0; i < 5; i++) {
      const options = { topK: 30, topP: 0.95, minP: 0.01, repetitionPenalty: 1.2, temperature: 1.5 };
      const request = { step: i, groupSize: 1 + groups[i] % 9 };
      const expected = await run({ ...options, ...PLAIN, readbackEvery: 40 }, request);
      const layout = { blockTokens: 2 ** (1 + sizes[i] % 5), readbackEvery: 1 + looks[i] % 12 };
      const actual = await run({ ...options, ...layout }, request);
      assert.deepEqual(actual.completions, expected.completions, JSON.stringify({ ...layout, ...request }));
    }
  });

  for (const own of [15, 16, 17]) {
    it(`fills blocks to the last token: prompts of 15 to 32 tokens, and ${own} of a completion kept`, async () => {
      const long = Array.from({ length: 32 }, (_, i) => (5 * i + 1) % 61);
      const prompts = [15, 16, 17, 31, 32].map((length) => long.slice(0, length));
      const options = { maxTokens: own + 1, eosIds: [], temperature: 0.7 };
      const request = { prompts, groupSize: 2, findStop: undefined };
      const expected = await run({ ...options, ...PLAIN }, request);
      assert.ok(expected.completions.every(({ tokens }) => tokens.length === own + 1));
      for (const readbackEvery of [1, 16, 17]) {
        const { completions, usage } = await run({ ...options, blockTokens: 16, readbackEvery }, request);
        assert.deepEqual(completions, expected.completions, `${readbackEvery} at a time`);
        const promptBlocks = 1 + 1 + 2 + 2 + 2;
        assert.equal(usage.mostBlocks, promptBlocks + 10 * Math.ceil(own / 16));
      }
    });
  }

  for (const [readbackEvery, options] of [[5, {}], [1, { topP: 0.9 }], [7, { compacts: false }]] as const) {
    it(`gives the same completions where the next tokens do not wait for the look, ${readbackEvery} at a time`, async () => {
      const group = { groupSize: 20 };
      const waiting = await run({ ...options, readbackEvery, overlaps: false }, group);
      const ahead = await run({ ...options, readbackEvery, overlaps: true }, group);
      assert.deepEqual(ahead.completions, waiting.completions);
      assert.ok(ahead.usage.rowSteps >= waiting.usage.rowSteps, "rows that ended go on for a while");
      assert.ok(
        "compacts" in options || ahead.usage.recordings > 1,
        "the rest goes on in plans of fewer rows",
      );
    });
  }

  it("samples one burst in vain where all end at a look, and no token beyond the last", async () => {
    const steps = async (overlaps: boolean, findStop?: () => number) =>
      (await run({ overlaps }, { findStop })).usage.rowSteps;
    const rows = 3 * 7;
    assert.equal(await steps(false, () => 1), 5 * rows);
    assert.equal(await steps(true, () => 1), 2 * 5 * rows);
    const none = { eosIds: [] };
    for (const overlaps of [true, false]) {
      assert.equal((await run({ ...none, overlaps }, { findStop: undefined })).usage.rowSteps, 39 * rows);
    }
  });

  it("a look that fails while the next tokens are on their way leaves a generator that goes on", async () => {
    const expected = (await run({})).completions;
    const generator = createGenerator(policy, { ...OPTIONS, overlaps: true });
    const findStop = () => {
      throw new Error("no such word");
    };
    await assert.rejects(generator.generate({ ...REQUEST, findStop }), /no such word/);
    assert.deepEqual(await generator.generate(REQUEST), expected);
    generator.dispose();
  });

  it("gives a prompt the same completions alone and among others", async () => {
    const together = (await run({})).completions;
    const parts: Completion[] = [];
    for (let p = 0; p < PROMPTS.length; p++) {
      parts.push(...(await run({}, { prompts: [PROMPTS[p]], firstPrompt: p })).completions);
    }
    assert.deepEqual(parts, together);
  });

  it("a completion of a single token needs no block of its own", async () => {
    const { completions, usage } = await run({ maxTokens: 1, blockTokens: 16 });
    assert.ok(completions.every(({ tokens }) => tokens.length === 1));
    assert.equal(usage.rowSteps, 0);
  });

  it("a long group of which most end early takes fewer row-steps and less memory", async () => {
    const group = { prompts: [PROMPTS[2]], groupSize: 60 };
    const kept = await run({ compacts: false, blockTokens: 4 }, group);
    const left = await run({ blockTokens: 4 }, group);
    assert.deepEqual(left.completions, kept.completions);
    const longest = Math.max(...left.completions.map(({ tokens }) => tokens.length));
    assert.equal(kept.usage.rowSteps, 60 * (Math.ceil((longest - 1) / 5) * 5 - (longest > 36 ? 1 : 0)));
    assert.ok(
      left.usage.rowSteps < 0.65 * kept.usage.rowSteps, // a GPU begins a burst more before it sees that rows ended
      `${left.usage.rowSteps} of ${kept.usage.rowSteps}`,
    );
    const atMost = blocksFor(PROMPTS[2].length, 4) + 60 * blocksFor(39, 4);
    assert.ok(
      left.usage.mostBlocks < 0.5 * atMost,
      `${left.usage.mostBlocks} blocks, ${atMost} if none ended`,
    );
    const allocated = left.usage.cacheBytes / blockBytes(policy.config, 4, "f32");
    assert.ok(allocated <= 1.5 * left.usage.mostBlocks, `${allocated} blocks allocated`);
  });

  it("a second batch of the same kind records no plan and needs no memory", async () => {
    const generator = createGenerator(policy, OPTIONS);
    const first = await generator.generate(REQUEST);
    assert.ok(generator.usage!.recordings >= 2);
    const before = [tf.memory().numTensors, bytesUsed()];
    assert.deepEqual(await generator.generate(REQUEST), first);
    assert.equal(generator.usage!.recordings, 0);
    assert.deepEqual([tf.memory().numTensors, bytesUsed()], before);
    generator.dispose();
  });

  it("a generator goes on after a call that failed, and after it was disposed, in no more memory", async () => {
    const { completions: expected, usage } = await run({});
    const before = bytesUsed();
    const generator = createGenerator(policy, OPTIONS);
    const failing = generator.generate({
      ...REQUEST,
      findStop: (tokens) => {
        if (tokens.length > 8) throw new Error("no such word");
        return null;
      },
    });
    await assert.rejects(failing, /no such word/);
    assert.deepEqual(await generator.generate(REQUEST), expected);
    assert.deepEqual(generator.usage, usage, "no block of the failed call is held");
    generator.dispose();
    assert.deepEqual(await generator.generate(REQUEST), expected);
    assert.deepEqual(generator.usage, usage);
    generator.dispose();
    assert.equal(bytesUsed(), before, "all of it is given back");
  });

  it("a large cache is freed after each call, and the next gives the same completions", async () => {
    const expected = (await run({})).completions;
    trimPool();
    const { memory } = await openGpu();
    const before = memory().liveBytes;
    const generator = createGenerator(policy, { ...OPTIONS, keptBytes: 100_000 });
    assert.deepEqual(await generator.generate(REQUEST), expected);
    assert.ok(generator.usage!.cacheBytes > 100_000);
    const kept = memory().liveBytes - before;
    assert.ok(kept < 100_000, `${kept} bytes of ${generator.usage!.cacheBytes} are still allocated`);
    assert.deepEqual(await generator.generate(REQUEST), expected);
    assert.equal(generator.usage!.recordings, 0, "the plans go on over the new one");
    generator.dispose();
  });

  for (const kvCacheDtype of ["float32", "float16"] as const) {
    it(`takes the bytes of the blocks it can need at most, and gives back all, ${kvCacheDtype}`, async () => {
      const options = { ...OPTIONS, kvCacheDtype, eosIds: [], blockTokens: 8 };
      const generator = createGenerator(policy, options);
      const before = bytesUsed();
      await generator.generate({ ...REQUEST, findStop: undefined }); // none ends: the cache grows to its most
      await generator.generate(REQUEST); // one after the other ends: plans of all widths
      // A prompt's blocks are shared by its group; a completion's last token is never in the cache.
      const blocksOf = (tokens: number) => blocksFor(tokens, 8);
      const ofPrompts = PROMPTS.reduce((sum, { length }) => sum + blocksOf(length), 0);
      const blocks = ofPrompts + PROMPTS.length * REQUEST.groupSize * blocksOf(options.maxTokens - 1);
      const format = KV_CACHE_FORMAT[kvCacheDtype];
      assert.equal(generator.usage!.cacheBytes, blocks * blockBytes(policy.config, 8, format));
      assert.ok(bytesUsed() - before > generator.usage!.cacheBytes);
      generator.dispose();
      assert.equal(bytesUsed(), before, "all of it is given back");
    });
  }

  it("hands out a prompt's completions once, whole, at the look at which the last of them has ended", async () => {
    let looks = 0;
    const handed: { prompt: number; look: number; made: Completion[] }[] = [];
    const { completions } = await run({}, {
      onProgress: () => void looks++,
      onGroup: (prompt, made) => void handed.push({ prompt, look: looks, made: [...made] }),
    });
    assert.deepEqual(handed.map(({ prompt }) => prompt).sort(), [0, 1, 2]);
    for (const { prompt, look, made } of handed) {
      assert.deepEqual(made, completions.slice(7 * prompt, 7 * prompt + 7));
      const longest = Math.max(...made.map(({ tokens }) => tokens.length));
      // The first look sees 1 + 5 tokens, each later one 5 more.
      assert.equal(
        look,
        Math.max(0, Math.ceil((longest - 1) / 5) - 1),
        `prompt ${prompt}, ${longest} tokens`,
      );
    }
    assert.ok(new Set(handed.map(({ look }) => look)).size > 1, "some prompt is done before another");
  });

  it("tells at each look how many tokens there are and how many completions are left", async () => {
    const told: GenerationProgress[] = [];
    const { completions } = await run({}, { onProgress: (progress) => void told.push(progress) });
    const last = told[told.length - 1];
    assert.equal(last.tokens, completions.reduce((sum, { tokens }) => sum + tokens.length, 0));
    assert.equal(last.rowsLeft, 0);
    for (let i = 1; i < told.length; i++) {
      assert.ok(told[i].tokens > told[i - 1].tokens && told[i].rowsLeft <= told[i - 1].rowsLeft);
      assert.ok(told[i].seconds > told[i - 1].seconds);
    }
  });
});
