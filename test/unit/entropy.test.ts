/** Which tokens are trained on by their entropy, and how the bonus adapts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  appliedEntropyCoef,
  type EntropyConfig,
  entropyThreshold,
  hasEntropyBonus,
  initialEntropyControl,
  nextEntropyControl,
} from "../../src/rl/entropy.ts";

const config: EntropyConfig = {
  entropy_coef: 0.5,
  use_adaptive_entropy: true,
  entropy_coef_min: 0.25,
  entropy_coef_max: 1,
  entropy_coef_delta: 0.25,
  entropy_target: 2,
};

test("the threshold is the quantile between the two nearest entropies, whatever their order", () => {
  const entropies = Float32Array.of(4, 0, 1, 3, 2);
  assert.equal(entropyThreshold(entropies, 0), 4, "the highest alone");
  assert.equal(entropyThreshold(entropies, 1), 0, "all");
  assert.equal(entropyThreshold(entropies, 0.5), 2);
  assert.equal(entropyThreshold(entropies, 0.375), 2.5);
  assert.equal(entropyThreshold(entropies, 0.6875), 1.25);
  assert.deepEqual([...entropies], [4, 0, 1, 3, 2], "they stay as they are");
  assert.equal(entropyThreshold(Float32Array.of(7), 0.2), 7);
  assert.equal(entropyThreshold(new Float32Array(0), 0.2), Infinity);
});

test("entropies are ordered as numbers, not as texts", () => {
  assert.equal(entropyThreshold(Float32Array.of(10, 9, 2), 0), 10);
});

test("the coefficient rises after steps at or below the target, falls after others, and stays in its bounds", () => {
  let control = initialEntropyControl(config);
  const coefs = [2, 1, 1, 3, 3, 3, 3, 2].map((entropy) => {
    control = nextEntropyControl(control, entropy, config);
    return control.coef;
  });
  assert.deepEqual(coefs, [0.75, 1, 1, 0.75, 0.5, 0.25, 0.25, 0.5]);
});

test("the bonus applies where the step before was at or below the target, and not in the first", () => {
  const first = initialEntropyControl(config);
  assert.equal(appliedEntropyCoef(first, config), 0);
  assert.equal(appliedEntropyCoef(nextEntropyControl(first, 2, config), config), 0.75);
  assert.equal(appliedEntropyCoef(nextEntropyControl(first, 2.5, config), config), 0);
});

test("a coefficient that does not adapt applies always", () => {
  const fixed = { ...config, use_adaptive_entropy: false };
  const control = nextEntropyControl(initialEntropyControl(fixed), 9, fixed);
  assert.deepEqual([appliedEntropyCoef(control, fixed), control.coef], [0.5, 0.5]);
  assert.ok(hasEntropyBonus(fixed) && !hasEntropyBonus({ ...fixed, entropy_coef: 0 }));
  assert.ok(hasEntropyBonus({ ...config, entropy_coef: 0 }), "it may rise from 0");
});
