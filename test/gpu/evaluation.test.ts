/** Evaluations of a run come again and again: each gives back what it took, and ranks share the prompts out. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { evaluatePolicy } from "../../src/evaluate/evaluate.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import type { Scorer } from "../../src/scorer/protocol.ts";
import { tinyConfig } from "./tiny_run.ts";
import { tinyPolicy } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

it("an evaluation frees its cache of keys and its plans", async () => {
  const policy = await tinyPolicy();
  const { memory } = await openGpu();
  const evaluate = () =>
    evaluatePolicy({
      policy,
      tokenizer: { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer,
      scorer: {
        score: (asked) => Promise.resolve({ rewards: asked.map(() => 1), costs: asked.map(() => 0) }),
      },
      prompts: [[1, 5, 9], [1, 7], [1, 60, 3]]
        .map((ids) => ({ user: "a", ids, messages: [], columns: {}, layout: "none" })),
      config: tinyConfig({ eval_batch_size: 2 }),
    }, [1]);
  const bytesAfter = async () => {
    assert.equal((await evaluate()).completions.length, 3);
    trimPool();
    return memory().liveBytes;
  };
  const first = await bytesAfter(); // with the device's few cached uniforms
  assert.deepEqual([await bytesAfter(), await bytesAfter()], [first, first]);
});

it("several ranks evaluate what one would, each its share of the prompts, however few there are", async () => {
  const policy = await tinyPolicy();
  const ids = [[1, 5, 9], [1, 7], [1, 60, 3], [1, 22], [1, 8, 41]];
  const asked: string[][] = [];
  /** Scores by the answer's length; a name that the scorers of some ranks leave out. */
  const scorerOf = (rank: number): Scorer => ({
    score(answers) {
      asked[rank] = answers.map(({ prompt }) => prompt);
      const lengths = answers.map(({ completion }) => completion.length);
      const named = rank === 1 ? undefined : { "rewards/length": lengths };
      return Promise.resolve({ rewards: lengths, costs: lengths.map((length) => -length / 2), named });
    },
  });
  const base = {
    policy,
    tokenizer: { decode: (tokens: readonly number[]) => tokens.join(" ") } as Tokenizer,
    prompts: ids.map((ids, i) => ({
      user: `prompt ${i}`,
      ids,
      messages: [],
      columns: {},
      layout: "none" as const,
    })),
    config: tinyConfig({ eval_batch_size: 2 }),
  };
  const alone = await evaluatePolicy({ ...base, scorer: scorerOf(0) }, [0.5]);
  assert.equal(new Set(alone.completions).size, ids.length);
  for (const size of [2, 3, 7]) {
    asked.length = 0;
    const all = await Promise.all(
      inProcessRanks(size).map((communicator, rank) =>
        evaluatePolicy({ ...base, communicator, scorer: scorerOf(rank) }, [0.5])
      ),
    );
    for (const { named, ...evaluation } of all) {
      const { named: _, ...expected } = alone;
      assert.deepEqual(evaluation, expected);
      const { rewards } = alone;
      const isOfRank1 = (i: number) => asked[1]?.includes(`prompt ${i}`);
      assert.deepEqual(named, { "rewards/length": rewards.map((reward, i) => isOfRank1(i) ? NaN : reward) });
    }
    assert.deepEqual(asked.flat(), base.prompts.map(({ user }) => user));
  }
});
