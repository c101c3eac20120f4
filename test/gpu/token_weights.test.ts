/** A sampler that is the trainer is corrected for without a trace. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { grpoLoss } from "../../src/ops/loss/grpo_loss.ts";
import { policyWeights } from "../../src/ops/loss/policy_weights.ts";
import { samplerWeights } from "../../src/ops/loss/sampler_weights.ts";
import type { TokenLossConfig } from "../../src/rl/loss.ts";
import { LOSS_TYPE_NAMES } from "../../src/rl/loss_types.ts";
import { IMPORTANCE_SAMPLING_MODES } from "../../src/rl/sampler_weights.ts";

const LENGTHS = [40, 1, 0, 67, 12];
const TOKENS = LENGTHS.reduce((sum, length) => sum + length, 0) + 7;

describe("weights of a sampler that is the trainer", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  const made = (seed: number, spread = 1) =>
    tf.tensor1d(Float32Array.from(randomFloats(seed, TOKENS, spread), (value) => value - 2));

  for (const loss_type of LOSS_TYPE_NAMES) {
    for (const importance_sampling_level of ["token", "sequence"] as const) {
      it(`change no bit of loss or gradient: ${loss_type}, ratios of ${importance_sampling_level}`, async () => {
        const config: TokenLossConfig = {
          loss_type,
          importance_sampling_level,
          beta: 0.04,
          epsilon: 0.2,
          epsilon_high: loss_type === "cispo" ? 2 : null,
          delta: null,
          use_bias_correction_kl: true,
          sapo_temperature_neg: 1.05,
          sapo_temperature_pos: 1,
        };
        const offsets = tf.tensor1d(
          LENGTHS.reduce((all, length) => [...all, all.at(-1)! + length], [0]),
          "int32",
        );
        const [old, ref, entropy] = [made(1), made(2), made(3)];
        const logprobs = tf.tensor1d((await readFloats(old)).map((value, i) => value + 0.3 * Math.sin(i)));
        const scales = tf.tensor2d(Float32Array.from(randomFloats(4, 2 * LENGTHS.length)), [
          2,
          LENGTHS.length,
        ]);
        const trained = async (ofSampler: Tensor | null) => {
          // Of vespo they are part of a weight that it cannot do without.
          const tokenWeights = loss_type !== "vespo" ? ofSampler : policyWeights({
            logprobs,
            oldLogprobs: old,
            samplerLogprobs: old,
            samplerWeights: ofSampler,
            tokenMask: null,
            offsets,
            advantagesAndWeights: scales,
          }, { ...defaultConfig(), loss_type }).weights;
          const context = {
            oldLogprobs: old,
            refLogprobs: ref,
            entropy,
            offsets,
            advantagesAndWeights: scales,
          };
          const { value, grad } = tf.valueAndGrad((logprobs: Tensor) =>
            grpoLoss({ ...context, logprobs, tokenWeights }, config).losses
          )(logprobs, tf.ones([LENGTHS.length]));
          return [await readFloats(value), await readFloats(grad)];
        };
        const plain = await trained(null);
        assert.ok(plain[1].some((value) => value !== 0));
        for (const importance_sampling_mode of IMPORTANCE_SAMPLING_MODES) {
          const { weights, stats } = samplerWeights({ trainer: old, sampler: old.clone() }, offsets, {
            importance_sampling_mode,
            importance_sampling_clip_min: null,
            importance_sampling_clip_max: 3,
          });
          assert.deepEqual(await readFloats(weights), new Float32Array(TOKENS).fill(1));
          assert.deepEqual(
            Array.from(await readFloats(stats)),
            LENGTHS.flatMap((length) => [0, 0, length, Math.min(length, 1), Math.min(length, 1)]),
          );
          assert.deepEqual(await trained(weights), plain, importance_sampling_mode);
        }
      });
    }
  }
});
