/** Effects of the group "Loss". */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type FirstLoss, firstLoss } from "./config_by_hand.ts";
import { assertClose, assertMore, type Effect } from "./config_effect.ts";
import { plannedBytes, requestSizes, rowsOf, tableOf, weightsOf } from "./config_read.ts";
import type { Ran, Settings } from "./config_run.ts";

const RULE: FirstLoss = { type: "grpo", longest: 6, groupSize: 4, microBatch: 4 };

/** The loss of the first step, worked out from the completions and their scores. */
function assertFirstLoss(ran: Ran, rule: Partial<FirstLoss>): void {
  const cut = rowsOf(ran)[0]["completions/clipped_ratio"]!;
  assertMore(cut, 0);
  assertMore(1, cut);
  const expected = firstLoss(tableOf(ran, "train", 1), { ...RULE, ...rule });
  const actual = rowsOf(ran)[0].loss!;
  // Eight products of numbers near 1, summed in f32.
  assert.ok(Math.abs(actual - expected) < 1e-5, `expected a loss of ${expected}, got ${actual}`);
}

const lossRow = (type: FirstLoss["type"], seen: string): Effect => ({
  key: "loss_type",
  value: type,
  seen,
  check(changed, without) {
    assertFirstLoss(changed, { type });
    assertFirstLoss(without, {});
    assertMore(Math.abs(rowsOf(changed)[0].loss!), 1e-3); // that of grpo is 0
  },
});

/** Each batch is trained on twice, the second time with ratios other than 1. */
const OFF_POLICY: Settings = { num_iterations: 2 };

/** A cache of 8 bits of mantissa: the sampler's log-probs are off, and each token weighed for it. */
const ROUNDED: Settings = { kv_cache_dtype: "bfloat16", importance_sampling_mode: "token_truncate" };

const clipped = (ran: Ran, side: "low" | "high") => rowsOf(ran)[0][`clip_ratio/${side}_mean`]!;

export const LOSS_EFFECTS: readonly Effect[] = [
  lossRow("bnpo", "the first loss is the mean over each micro-batch's tokens"),
  lossRow("dr_grpo", "the first loss is the sum over tokens by completions and max_completion_length"),
  lossRow("dapo", "the first loss is the mean over all tokens"),
  {
    key: "loss_type",
    value: "cispo",
    seen: "ratios are bounded, not clipped: another statistic is logged",
    given: { epsilon_high: 5 },
    check(changed, without) {
      assert.equal(rowsOf(changed)[0].cispo_clip_ratio, 0);
      assert.equal(rowsOf(changed)[0]["clip_ratio/low_mean"], undefined);
      assert.equal(rowsOf(without)[0].cispo_clip_ratio, undefined);
      assert.notEqual(rowsOf(changed)[0].loss, rowsOf(without)[0].loss);
    },
  },
  {
    key: "importance_sampling_level",
    value: "sequence",
    seen:
      "a completion's ratio is clipped or is not: of the eight a whole number is, not a share of their tokens",
    given: { ...OFF_POLICY, epsilon: 0.02 },
    check(changed, without) {
      // The mean of two updates, of which the first has no ratio but 1.
      const completions = (ran: Ran) => 2 * 8 * (clipped(ran, "high") + clipped(ran, "low"));
      const isWhole = (count: number) => Math.abs(count - Math.round(count)) < 1e-6;
      assert.ok(isWhole(completions(changed)) && completions(changed) > 0, `${completions(changed)}`);
      assert.ok(!isWhole(completions(without)), `${completions(without)}`);
    },
  },
  {
    key: "beta",
    value: 2,
    seen: "the loss of the second step, all KL, is twenty times that with 0.1",
    check(changed, without) {
      const [kl, klBefore] = [changed, without].map((ran) => rowsOf(ran)[1].kl!);
      assert.equal(kl, klBefore, "from the reference KL has no slope: the first step is the same");
      assertClose(rowsOf(changed)[1].loss, 20 * rowsOf(without)[1].loss!, 1e-3); // policy terms cancel to f32's 1e-7
    },
  },
  {
    key: "beta",
    value: 0,
    seen: "there is no reference policy: no KL is logged, and less memory taken",
    check(changed, without) {
      assert.deepEqual(rowsOf(changed).map(({ kl }) => kl), [undefined, undefined]);
      const part = "optimizer and reference";
      assertMore(plannedBytes(without, part), plannedBytes(changed, part));
    },
  },
  {
    key: "beta",
    value: [0, 0.25],
    seen: "one run after the other, each in its folder",
    check(changed) {
      for (const name of ["beta0_seed42_unified", "beta0.25_seed42_unified"]) {
        assert.ok(existsSync(join(changed.dir, name, "model.safetensors")), name);
      }
    },
  },
  {
    key: "use_bias_correction_kl",
    value: false,
    seen: "KL is logged and trained without the ratio, which is not 1 from the second update on",
    given: OFF_POLICY,
    check(changed, without) {
      const [plain, weighted] = [changed, without].map((ran) => rowsOf(ran)[0].kl!);
      assert.ok(plain > 0 && weighted > 0 && plain !== weighted, `${plain} ${weighted}`);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "epsilon",
    value: 1e-6,
    seen: "more ratios are clipped below, and above as many as before",
    given: { ...OFF_POLICY, epsilon_high: 0.2 },
    check(changed, without) {
      assertMore(clipped(changed, "low"), clipped(without, "low"));
      assert.equal(clipped(changed, "high"), clipped(without, "high"));
    },
  },
  {
    key: "epsilon_high",
    value: 1e-6,
    seen: "more ratios are clipped above, and below as many as before",
    given: OFF_POLICY,
    check(changed, without) {
      assertMore(clipped(changed, "high"), clipped(without, "high"));
      assert.equal(clipped(changed, "low"), clipped(without, "low"));
    },
  },
  {
    key: "delta",
    value: 1 + 2 ** -7,
    seen: "ratios are bounded where clipping begins, so none is clipped above and the weights are others",
    given: { ...OFF_POLICY, epsilon: 2 ** -7 },
    check(changed, without) {
      assertMore(clipped(without, "high"), 0);
      assert.equal(clipped(changed, "high"), 0);
      assert.equal(clipped(changed, "low"), clipped(without, "low"));
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "importance_sampling_correction",
    value: false,
    seen: "a rounded cache is not corrected for: no ratio is logged, and the weights are others",
    given: ROUNDED,
    check(changed, without) {
      assert.equal(rowsOf(changed)[0]["sampler/ratio_max"], undefined);
      assertMore(rowsOf(without)[0]["sampler/ratio_max"]!, 1);
      assertMore(rowsOf(changed)[0]["sampler/logprob_diff_max"]!, 0);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "importance_sampling_correction",
    value: true,
    seen: "in float32 every ratio is 1, and the weights are the same",
    given: { kv_cache_dtype: "float32" },
    check(changed, without) {
      const ratios = rowsOf(changed).map((row) => [row["sampler/ratio_min"], row["sampler/ratio_max"]]);
      assert.deepEqual(ratios, [[1, 1], [1, 1]]);
      assert.deepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "importance_sampling_mode",
    value: "sequence_truncate",
    seen: "ratios are of whole completions, farther from 1 than those of tokens",
    given: ROUNDED,
    check(changed, without) {
      const [ofWhole, ofTokens] = [changed, without].map((ran) => rowsOf(ran)[0]["sampler/ratio_max"]!);
      assert.notEqual(ofWhole, ofTokens);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "importance_sampling_clip_min",
    value: 1,
    seen: "no ratio is below it",
    given: ROUNDED,
    check(changed, without) {
      assert.equal(rowsOf(changed)[0]["sampler/ratio_min"], 1);
      assertMore(1, rowsOf(without)[0]["sampler/ratio_min"]!);
      assert.equal(rowsOf(changed)[0]["sampler/ratio_max"], rowsOf(without)[0]["sampler/ratio_max"]);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "importance_sampling_clip_max",
    value: 1,
    seen:
      "ratios above it are masked, as those of a completion that training finds likelier than sampling did",
    given: { ...ROUNDED, importance_sampling_mode: "token_mask" },
    check(changed, without) {
      assert.equal(rowsOf(changed)[0]["sampler/ratio_min"], 0);
      assertMore(1.0000001, rowsOf(changed)[0]["sampler/ratio_max"]!);
      assertMore(rowsOf(without)[0]["sampler/ratio_min"]!, 0.5);
      assert.notDeepEqual(weightsOf(changed), weightsOf(without));
    },
  },
  {
    key: "num_iterations",
    value: 2,
    seen: "a generation batch makes two steps: half as many are sampled and scored",
    given: { max_steps: 4 },
    check(changed, without) {
      assert.deepEqual(rowsOf(changed).map(({ step }) => step), [2, 4]);
      assert.deepEqual(rowsOf(without).map(({ step }) => step), [1, 2, 3, 4]);
      assert.deepEqual([requestSizes(changed).length, requestSizes(without).length], [2, 4]);
    },
  },
  ...(["batch", "none"] as const).map((scale): Effect => ({
    key: "scale_rewards",
    value: scale,
    seen: `the first loss is that of advantages divided by ${
      scale === "none" ? "nothing" : "the batch's deviation"
    }`,
    given: { loss_type: "dr_grpo" },
    check(changed, without) {
      assertFirstLoss(changed, { type: "dr_grpo", scale });
      assertFirstLoss(without, { type: "dr_grpo", scale: "group" });
      assert.notEqual(rowsOf(changed)[0].loss, rowsOf(without)[0].loss);
    },
  })),
  {
    key: "mask_truncated_completions",
    value: true,
    seen: "the first loss is that of the completions which ended before max_completion_length",
    given: { loss_type: "dr_grpo" },
    check(changed, without) {
      assertFirstLoss(changed, { type: "dr_grpo", masked: true });
      assertFirstLoss(without, { type: "dr_grpo" });
      assert.notEqual(rowsOf(changed)[0].loss, rowsOf(without)[0].loss);
    },
  },
];
