/** Effects of the group "Loss": the newer loss types, entropy, and a reference that follows. */
import assert from "node:assert/strict";
import { assertClose, assertMore, type Effect } from "./config_effect.ts";
import { advantages, firstLoss, tokenCount } from "./config_by_hand.ts";
import { rowsOf, tableOf, weightsOf } from "./config_read.ts";
import type { Ran, Settings } from "./config_run.ts";

/** Each batch is trained on twice, the second time with ratios other than 1. */
const OFF_POLICY: Settings = { num_iterations: 2 };
const SAPO: Settings = { ...OFF_POLICY, loss_type: "sapo" };
/** In small steps: far from a ratio of 1 a weight of vespo is too small to show. */
const VESPO: Settings = {
  ...OFF_POLICY,
  loss_type: "vespo",
  importance_sampling_mode: "token_truncate",
  learning_rate: 1e-3,
};

/** The first loss of sapo: at a ratio of 1 a token's is -2 A / temperature. */
function sapoLoss(ran: Ran, positive: number, negative: number): number {
  const table = tableOf(ran, "train", 1);
  const ofEach = advantages(table.map(({ combined }) => combined), 4, "group");
  const losses = ofEach.map((advantage) => -2 * advantage / (advantage > 0 ? positive : negative));
  return losses.reduce((sum, loss) => sum + loss, 0) / table.length;
}

const phiOf = (ran: Ran) => rowsOf(ran)[0]["vespo/phi_seq_mean"]!;
const coefsOf = (ran: Ran) => rowsOf(ran).map((row) => Number(row.entropy_coef!.toFixed(6)));

const gateRow = (
  key: "sapo_temperature_pos" | "sapo_temperature_neg",
  temperatures: [number, number],
): Effect => ({
  key,
  value: 4,
  seen: "the first loss has 2 / temperature times the advantages of that sign",
  given: { loss_type: "sapo" },
  check(changed, without) {
    assert.ok(Math.abs(rowsOf(changed)[0].loss! - sapoLoss(changed, ...temperatures)) < 1e-5);
    assert.ok(Math.abs(rowsOf(without)[0].loss! - sapoLoss(without, 1, 1.05)) < 1e-5);
  },
});

const vespoRow = (key: Effect["key"], value: number, seen: string): Effect => ({
  key,
  value,
  seen,
  given: VESPO,
  check(changed, without) {
    assert.notEqual(phiOf(changed), phiOf(without));
    assert.notDeepEqual(weightsOf(changed), weightsOf(without));
  },
});

const ADAPTIVE: Settings = { use_adaptive_entropy: true, entropy_coef: 0.1 };
const adaptiveRow = (
  key: Effect["key"],
  value: number | boolean,
  seen: string,
  given: Settings,
  coefs: [changed: number[], without: number[]],
): Effect => ({
  key,
  value,
  seen,
  given,
  check: (changed, without) => assert.deepEqual([coefsOf(changed), coefsOf(without)], coefs),
});

/** The second step is held against what the first left of the reference. */
const followRow = (key: Effect["key"], value: number | boolean, seen: string, given: Settings): Effect => ({
  key,
  value,
  seen,
  given,
  check(changed, without) {
    assert.equal(rowsOf(changed)[1].kl, 0);
    assertMore(rowsOf(without)[1].kl!, 0);
  },
});

export const NEWER_LOSS_EFFECTS: readonly Effect[] = [
  {
    key: "loss_type",
    value: "luspo",
    seen: "the first loss is the sum over each completion's tokens, averaged over completions",
    given: { importance_sampling_level: "sequence" },
    check(changed) {
      const table = tableOf(changed, "train", 1);
      const ofEach = advantages(table.map(({ combined }) => combined), 4, "group");
      const expected = -ofEach.reduce((sum, a, i) => sum + a * tokenCount(table[i].completion, 6), 0) /
        table.length;
      assertClose(rowsOf(changed)[0].loss, expected, 1e-5);
    },
  },
  {
    key: "loss_type",
    value: "sapo",
    seen: "nothing is clipped: ratios go through a gate, and other weights come of it",
    given: OFF_POLICY,
    check(changed, without) {
      assert.equal(rowsOf(changed)[0]["clip_ratio/low_mean"], undefined);
      assert.notEqual(rowsOf(without)[0]["clip_ratio/low_mean"], undefined);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "loss_type",
    value: "vespo",
    seen: "the mean weight of a completion is logged: 1 at the first update, less at the second",
    given: { ...OFF_POLICY, importance_sampling_mode: "token_truncate" },
    check(changed, without) {
      assertMore(1, phiOf(changed));
      assertMore(phiOf(changed), 0.5);
      assert.equal(rowsOf(without)[0]["vespo/phi_seq_mean"], undefined);
    },
  },
  gateRow("sapo_temperature_pos", [4, 1.05]),
  gateRow("sapo_temperature_neg", [1, 4]),
  vespoRow("vespo_k_pos", 0, "good completions that became unlikely weigh another part"),
  vespoRow("vespo_lambda_pos", 0, "good completions that became likelier weigh another part"),
  vespoRow("vespo_k_neg", 0, "bad completions that became unlikely weigh another part"),
  vespoRow("vespo_lambda_neg", 0, "bad completions that became likelier weigh another part"),
  {
    key: "off_policy_mask_threshold",
    value: 1e-7,
    seen: "the second update leaves out bad completions that the first made less likely",
    given: SAPO,
    check(changed, without) {
      assert.notEqual(rowsOf(changed)[0].loss, rowsOf(without)[0].loss);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "top_entropy_quantile",
    value: 0.5,
    seen: "policy terms of half the tokens are left out: the first loss, which is 0 over all of them, is not",
    check(changed, without) {
      assertMore(Math.abs(rowsOf(changed)[0].loss!), 1e-3);
      assertMore(1e-5, Math.abs(rowsOf(without)[0].loss!));
      assert.equal(rowsOf(changed)[0].entropy, rowsOf(without)[0].entropy, "that of all tokens is logged");
    },
  },
  {
    key: "entropy_coef",
    value: 2,
    seen: "the loss is less by twice the mean entropy, which is then higher",
    given: { loss_type: "dapo" },
    check(changed, without) {
      const [row] = rowsOf(changed);
      assertClose(row.loss! + 2 * row.entropy!, row.policy_loss!, 1e-4);
      const byHand = firstLoss(tableOf(changed, "train", 1), { type: "dapo", longest: 6, groupSize: 4 });
      assert.ok(Math.abs(row.policy_loss! - byHand) < 1e-5, `${row.policy_loss} ${byHand}`);
      assertMore(rowsOf(changed)[1].entropy!, rowsOf(without)[1].entropy!);
      assert.deepEqual([coefsOf(changed), rowsOf(without)[0].policy_loss], [[2, 2], undefined]);
    },
  },
  adaptiveRow("use_adaptive_entropy", true, "the coefficient moves after each step", {
    entropy_coef: 0.1,
    entropy_target: 100,
  }, [[0.105, 0.11], [0.1, 0.1]]),
  adaptiveRow(
    "entropy_target",
    100,
    "entropies below it raise the coefficient, above it they lower it",
    ADAPTIVE,
    [
      [0.105, 0.11],
      [0.095, 0.09],
    ],
  ),
  adaptiveRow(
    "entropy_coef_delta",
    0.01,
    "the coefficient moves by it",
    { ...ADAPTIVE, entropy_target: 100 },
    [
      [0.11, 0.12],
      [0.105, 0.11],
    ],
  ),
  adaptiveRow("entropy_coef_min", 0.093, "the coefficient falls no lower", ADAPTIVE, [
    [0.095, 0.093],
    [0.095, 0.09],
  ]),
  adaptiveRow("entropy_coef_max", 0.107, "it rises no higher", { ...ADAPTIVE, entropy_target: 100 }, [
    [0.105, 0.107],
    [0.105, 0.11],
  ]),
  followRow("sync_ref_model", true, "the second step is held against the policy that the first made", {
    ref_model_sync_steps: 1,
    ref_model_mixup_alpha: 1,
  }),
  followRow("ref_model_mixup_alpha", 1, "the reference becomes the policy, whole", {
    sync_ref_model: true,
    ref_model_sync_steps: 1,
  }),
  followRow("ref_model_sync_steps", 1, "the reference follows after the first step", {
    sync_ref_model: true,
    ref_model_mixup_alpha: 1,
  }),
];
