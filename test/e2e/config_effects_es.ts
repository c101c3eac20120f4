/** Effects of the group "Evolution strategies", and of what chooses it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type FitnessConfig, fitnessOf } from "../../src/rl/es.ts";
import type { ReplayRow, ReplayStart } from "../../src/train/es/replay_log.ts";
import { assertClose, type Effect } from "./config_effect.ts";
import { checkpointsOf, lastOf, rowsOf, runFolderOf, weightsOf } from "./config_read.ts";
import type { Ran, Settings } from "./config_run.ts";
import { costOf, rewardOf } from "./config_scorer.ts";

/** A request of scores is a member's, or the policy's own. */
const GIVEN: Settings = {
  algorithm: "es",
  es_population_size: 2,
  es_batch_size: 4,
  es_sigma: 0.3,
  scorer_batch_size: 4,
  max_steps: 1,
};

/** es_replay.jsonl: its first line, and those of the iterations. */
function replayOf(ran: Ran): [ReplayStart, ...ReplayRow[]] {
  const lines = readFileSync(join(runFolderOf(ran), "es_replay.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line)) as [ReplayStart, ...ReplayRow[]];
}

const firstOf = (ran: Ran): ReplayRow => replayOf(ran)[1];

/** combined/mean is the mean of the members' fitness, worked out from what the scorer gave. */
function assertFitness(ran: Ran, config: Partial<FitnessConfig>): void {
  const whole = {
    es_standardize_within_batch: false,
    es_safe_first: false,
    es_safe_first_factor: 0,
    ...config,
  };
  const fitness = ran.batches.slice(0, 2).map(({ prompts, responses }) =>
    fitnessOf(
      prompts.map((prompt, i) => rewardOf(prompt, responses[i])),
      prompts.map((prompt, i) => costOf(prompt, responses[i])),
      1,
      whole,
    )
  );
  assertClose(rowsOf(ran)[0]["combined/mean"], (fitness[0] + fitness[1]) / 2, 1e-9, "combined/mean");
}

function ofFitness(
  key: keyof FitnessConfig,
  value: boolean | number,
  seen: string,
  given: Settings = {},
): Effect {
  return {
    key,
    value,
    seen,
    given: { ...GIVEN, ...given },
    check(changed, without) {
      assertFitness(changed, { ...given, [key]: value });
      assertFitness(without, given);
      const combined = (ran: Ran) => lastOf(rowsOf(ran))["combined/mean"];
      assert.notEqual(combined(changed), combined(without));
    },
  };
}

export const ES_EFFECTS: readonly Effect[] = [
  {
    key: "algorithm",
    value: "es",
    seen: "weights move by noise, which the run's folder keeps seeds of",
    given: { ...GIVEN, algorithm: "grpo" },
    check(changed, without) {
      assert.equal(replayOf(changed).length, 2);
      assert.equal(rowsOf(changed)[0].iteration, 1);
      assert.equal(rowsOf(changed)[0].grad_norm, undefined);
      assert.ok(!existsSync(join(runFolderOf(without), "es_replay.jsonl")));
      assert.match(
        without.output,
        /algorithm "grpo" does not read es_sigma, es_population_size, es_batch_size: set to no effect/,
      );
      assert.match(changed.output, /algorithm "es" does not read .*learning_rate/);
    },
  },
  {
    key: "es_sigma",
    value: 0.1,
    seen: "members lie nearer to the policy, and their answers with them",
    given: { ...GIVEN, es_sigma: 3 },
    check(changed, without) {
      assert.deepEqual([changed, without].map((ran) => replayOf(ran)[0].sigma), [0.1, 3]);
      assert.notDeepEqual(changed.batches[0].responses, without.batches[0].responses);
      assert.deepEqual(changed.batches[2], without.batches[2]); // of the policy itself
    },
  },
  {
    key: "es_alpha",
    value: 1e-3,
    seen: "the step is twice as long",
    given: GIVEN,
    check(changed, without) {
      const doubled = firstOf(without).coefficients.map((coefficient) => 2 * coefficient);
      assert.ok(doubled.some((coefficient) => coefficient !== 0));
      assert.deepEqual(firstOf(changed).coefficients, doubled);
    },
  },
  {
    key: "es_population_size",
    value: 3,
    seen: "so many members answer, and the policy itself",
    given: GIVEN,
    check(changed, without) {
      assert.deepEqual([changed, without].map(({ batches }) => batches.length), [4, 3]);
      assert.equal(firstOf(changed).seeds.length, 3);
    },
  },
  {
    key: "es_batch_size",
    value: 3,
    seen: "every member answers so many prompts",
    given: GIVEN,
    check: ({ batches }) => assert.equal(new Set(batches.flatMap(({ prompts }) => prompts)).size, 3),
  },
  {
    key: "es_noise",
    value: "antithetic",
    seen: "the members of a pair share a seed",
    given: GIVEN,
    check(changed, without) {
      assert.deepEqual([changed, without].map((ran) => firstOf(ran).seeds.length), [1, 2]);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "es_rank",
    value: 2,
    seen: "members of another rank answer otherwise; what moves is the matrices of the layers alone",
    given: { ...GIVEN, es_rank: 1 },
    check(changed, without) {
      const [after, other] = [weightsOf(changed), weightsOf(without)];
      const moved = [...after.keys()].filter((name) => !isDeepStrictEqual(after.get(name), other.get(name)));
      assert.ok(moved.includes("model.layers.0.self_attn.q_proj.weight"));
      assert.ok(moved.every((name) => name.endsWith("_proj.weight")), moved.join());
      assert.notDeepEqual(changed.batches[0].responses, without.batches[0].responses);
      assert.deepEqual(changed.batches[2], without.batches[2]); // of the policy itself
    },
  },
  {
    key: "es_members_at_once",
    value: 1,
    seen: "generation takes less memory, and gives the same weights",
    given: { ...GIVEN, es_rank: 1 },
    check(changed, without) {
      const planned = ({ output }: Ran) => /generation (\S+ \S+?),/.exec(output)![1];
      assert.notEqual(planned(changed), planned(without));
      assert.deepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  ofFitness("es_standardize_within_batch", true, "mean reward and cost are in units of their deviations"),
  ofFitness("es_safe_first", true, "unsafe answers earn nothing"),
  ofFitness("es_safe_first_factor", 0.5, "unsafe answers earn so much of their reward", {
    es_safe_first: true,
  }),
  {
    key: "es_full_checkpoint_every",
    value: 1,
    seen: "checkpoints come that often, and not as save_steps says",
    given: { ...GIVEN, max_steps: 2, save_steps: 2 },
    check: (changed, without) => assert.deepEqual([changed, without].map(checkpointsOf), [[1, 2], [2]]),
  },
];
