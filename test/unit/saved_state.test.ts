/** What a checkpoint says of its run is held to its shape: nothing trains on from a state that is none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSavedState } from "../../src/train/saved_state.ts";

const HASH = "a".repeat(64);
const lambda = (value: number) => ({ lambda: value, jEma: 0.25, updates: 3 });

const stateOf = () => ({
  identity: { seed: 42, lambda_scope: "rank" } as Record<string, unknown>,
  settings: { learning_rate: 5e-6, lr_scheduler_kwargs: { num_cycles: 2 }, ranks: 2 },
  inputs: { train: { name: "t", sha256: HASH }, eval: null, model: { "config.json": HASH } },
  progress: {
    step: 3,
    lambdas: [lambda(1)],
    rankLambdas: [[lambda(1)], [lambda(2)]],
    numTokens: 100,
    entropyControl: { coef: 0.5, lastEntropy: null },
  },
  tracker: { scatter: { fromStep: 2, seen: 2, stride: 1, rewards: [1, 2], costs: [3, 4] } },
  best: { metric: "eval/safe_ratio", greaterIsBetter: true, step: 1, value: 0.5, stale: 1, lastStep: 2 },
});

const parse = (state: unknown) =>
  parseSavedState(state, { path: "checkpoint-3/trainer_state.json", step: 3 });

/** The state with another value at a place; `undefined` takes the key away. */
function changed(place: string, value: unknown): unknown {
  const state = stateOf();
  const keys = place.split(".");
  const last = keys.pop()!;
  const parent = keys.reduce<Record<string, unknown>>(
    (at, key) => at[key] as Record<string, unknown>,
    state,
  );
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return state;
}

test("a state as it is written is read as it is", () => {
  assert.deepEqual(parse(stateOf()), stateOf());
  assert.equal(parse(changed("best", null)).best, null);
});

const withPid = (state: unknown) => {
  const { progress, identity, ...rest } = state as ReturnType<typeof stateOf>;
  const remembers = { ...lambda(1), pid: { integral: 0.5, averages: [0.25] } };
  const ofPid = { ...progress, lambdas: [remembers], rankLambdas: [[remembers], [remembers]] };
  return { ...rest, identity: { ...identity, lambda_rule: "pid" }, progress: ofPid };
};

test("what pid remembers is there with lambda_rule pid, and with no other", () => {
  assert.deepEqual(parse(withPid(stateOf())), withPid(stateOf()));
  const pid = /state\.progress\.lambdas\[0\]: required what lambda_rule pid remembers/;
  assert.throws(() => parse(changed("identity.lambda_rule", "pid")), pid);
  const other = { ...withPid(stateOf()), identity: { lambda_scope: "rank", lambda_rule: "signed" } };
  assert.throws(
    () => parse(other),
    /state\.progress\.lambdas\[0\]: required no pid, as lambda_rule is "signed"/,
  );
});

test("there is a lambda of each cost, which remembers what the rule of its own entry does", () => {
  const costs = [{ name: "harm" }, { name: "tone", lambda_rule: "pid" }];
  const ofBoth = [lambda(1), { ...lambda(2), pid: { integral: 0.5, averages: [0.25] } }];
  const stateOfTwo = (lambdas: unknown[], ranks = lambdas) => {
    const { identity, progress, ...rest } = stateOf();
    const two = { ...progress, lambdas, rankLambdas: [ofBoth, ranks] };
    return { ...rest, identity: { ...identity, lambda_rule: "signed", costs }, progress: two };
  };
  assert.deepEqual(parse(stateOfTwo(ofBoth)), stateOfTwo(ofBoth));
  assert.throws(
    () => parse(stateOfTwo([lambda(1)])),
    /state\.progress\.lambdas: required 2, one of each cost/,
  );
  assert.throws(
    () => parse(stateOfTwo(ofBoth, [lambda(1), lambda(1)])),
    /lambdas\[1\]: required what lambda_rule pid/,
  );
  assert.throws(
    () => parse(stateOfTwo(ofBoth.toReversed())),
    /lambdas\[0\]: required no pid, as .* is "signed"/,
  );
  assert.throws(
    () => parse(changed("progress.lambdas", [lambda(1), lambda(1)])),
    /lambdas: required 1, one of each/,
  );
});

const FAULTS: readonly [place: string, value: unknown, key: string][] = [
  ["progress.lambdas.0.lambda", null, "progress.lambdas[0].lambda"],
  ["progress.lambdas.0.lambda", Infinity, "progress.lambdas[0].lambda"],
  ["progress.lambdas.0.lambda", -1, "progress.lambdas[0].lambda"],
  ["progress.lambdas.0.jEma", "0", "progress.lambdas[0].jEma"],
  ["progress.lambdas.0.jEma", null, "progress.lambdas[0]"],
  ["progress.lambdas.0.updates", 1.5, "progress.lambdas[0].updates"],
  ["progress.lambdas", [], "progress.lambdas"],
  ["progress.rankLambdas.1.0.lambda", null, "progress.rankLambdas[1][0].lambda"],
  ["progress.rankLambdas", [], "progress.rankLambdas"],
  ["progress.rankLambdas", null, "progress.rankLambdas"],
  ["progress.step", 2, "progress.step"],
  ["progress.step", "3", "progress.step"],
  ["progress.numTokens", -1, "progress.numTokens"],
  ["progress.entropyControl.coef", "much", "progress.entropyControl.coef"],
  ["progress", undefined, "progress"],
  ["tracker.scatter.stride", 0, "tracker.scatter.stride"],
  ["tracker.scatter.rewards", [1, null], "tracker.scatter.rewards[1]"],
  ["tracker.scatter.costs", [1], "tracker.scatter"],
  ["tracker", {}, "tracker.scatter"],
  ["inputs.train.sha256", "abc", "inputs.train.sha256"],
  ["inputs.model", null, "inputs.model"],
  ["identity", [], "identity"],
  ["identity", null, "identity"],
  ["settings", undefined, "settings"],
  ["best.value", null, "best.value"],
  ["best.step", 3, "best"],
  ["best", undefined, "best"],
];

test("what is missing, of another kind, not finite or of another length is refused by file and key", () => {
  for (const [place, value, key] of FAULTS) {
    const words = `${place} = ${JSON.stringify(value)}`;
    assert.throws(() => parse(changed(place, value)), (error: Error) => {
      const beginning = `Cannot read 'checkpoint-3/trainer_state.json': state.${key}: `;
      assert.ok(error.message.startsWith(beginning), `${words}: ${error.message}`);
      assert.match(error.message, /, found .*delete this checkpoint/, words);
      return true;
    });
  }
  for (const state of [null, [], 3, "state"]) {
    assert.throws(() => parse(state), /trainer_state\.json': state: /);
  }
});

test("a key that nobody knows is refused: another version wrote it", () => {
  assert.throws(() => parse(changed("progress.of_later", 1)), /state\.progress: .*of_later/);
});
