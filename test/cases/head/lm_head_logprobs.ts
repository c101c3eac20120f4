import * as tf from "@tensorflow/tfjs";
import type { Tensor2D } from "@tensorflow/tfjs";
import {
  lmHeadLogprobs,
  lmHeadLogprobsF64,
  lmHeadLogprobsGradF64,
} from "../../../src/ops/head/lm_head_logprobs.ts";
import type { FinalLogits } from "../../../src/ops/head/final_logits.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, randomInts, uniform, uniformWeight } from "../case.ts";
import { finalText } from "./final_logits.ts";

interface LmHeadCase extends FinalLogits {
  chunkRows: number;
  temperature?: number;
  format?: WeightFormat;
  differentiatesEntropy?: boolean;
  benchOnly?: boolean;
}

/** Every seventh row is padding. With `differentiatesEntropy` the sum of log-prob and entropy is what is made. */
export function lmHeadCase(M: number, D: number, V: number, options: LmHeadCase): OpCase {
  const {
    chunkRows,
    temperature = 1,
    format = "f32",
    softcap,
    divisor,
    differentiatesEntropy = false,
    benchOnly,
  } = options;
  const sizes = { M, D, V, temperature, softcap, divisor };
  // Plain tfjs knows no spare rows.
  const tokens = randomInts(3, M, V).map((token, m) => m % 7 === 2 && !benchOnly ? -1 : token);
  return {
    name: `lm_head_logprobs ${M}x${D}x${V} ${format} in chunks of ${chunkRows}, temperature ${temperature}${
      finalText(options)
    }${differentiatesEntropy ? ", with the entropy" : ""}`,
    inputs: {
      h: uniform(1, [M, D]),
      head: uniformWeight(2, [V, D], format),
      tokens: { shape: [M], values: tokens },
    },
    run: ({ tensors, weights }) => {
      const made = { temperature, chunkRows, softcap, divisor, differentiatesEntropy };
      const outputs = lmHeadLogprobs(tensors.h, weights.head, tensors.tokens, made);
      return differentiatesEntropy ? [tf.add(outputs[0], outputs[1])] : outputs;
    },
    twin: ({ h, head, tokens }) => {
      const { logprobs, entropy } = lmHeadLogprobsF64(h, head, tokens, sizes);
      return differentiatesEntropy
        ? [logprobs.map((value: number, m: number) => value + entropy[m])]
        : [logprobs, entropy];
    },
    gradient: {
      wrt: format === "f32" ? ["h", "head"] : ["h"],
      twin: ({ h, head, tokens }, dy) => {
        const { dh, dhead } = lmHeadLogprobsGradF64(h, head, tokens, {
          dlogprobs: dy,
          dentropy: differentiatesEntropy ? dy : null,
        }, sizes);
        return { h: dh, head: dhead };
      },
    },
    tolerance: 2e-5,
    toleranceReason: "f32 sums over width and vocabulary; WGSL lets exp err by 3 + 2|x| ulp",
    benchOnly,
    bench: {
      flops: 2 * M * D * V,
      bytes: 4 * (M * D + 3 * M) + (format === "f32" ? 4 : 2) * V * D,
      plainTfjs: format === "f32"
        ? ({ tensors, weights }) => {
          const logits = tf.matMul(tensors.h, weights.head.tensor, false, true);
          const logsoftmax = tf.logSoftmax(tf.div(logits, temperature)) as Tensor2D;
          const chosen = tf.sum(tf.mul(logsoftmax, tf.oneHot(tensors.tokens.toInt(), V)), -1);
          return [chosen, tf.neg(tf.sum(tf.mul(tf.exp(logsoftmax), logsoftmax), -1))];
        }
        : undefined,
    },
  };
}

export const cases: OpCase[] = [
  lmHeadCase(3, 4, 5, { chunkRows: 64 }),
  lmHeadCase(150, 12, 37, { chunkRows: 64, temperature: 0.8 }),
  lmHeadCase(128, 16, 40, { chunkRows: 64 }),
  lmHeadCase(70, 7, 11, { chunkRows: 64 }),
  // One and two logits past a whole number of what eight lanes take at a time.
  lmHeadCase(5, 8, 97, { chunkRows: 64 }),
  lmHeadCase(5, 8, 98, { chunkRows: 64 }),
  lmHeadCase(70, 8, 33, { chunkRows: 64, format: "bf16" }),
  lmHeadCase(70, 8, 33, { chunkRows: 64, temperature: 0.8, softcap: 0.7, divisor: 2 }),
  lmHeadCase(5, 8, 98, { chunkRows: 64, divisor: 8 }),
  lmHeadCase(150, 12, 37, { chunkRows: 64, temperature: 0.8, differentiatesEntropy: true }),
  lmHeadCase(70, 8, 33, { chunkRows: 64, softcap: 0.7, divisor: 2, differentiatesEntropy: true }),
  lmHeadCase(2048, 96, 512, { chunkRows: 512, benchOnly: true }),
  lmHeadCase(64, 1024, 32000, { chunkRows: 64, benchOnly: true }),
];
