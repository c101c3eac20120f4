import * as tf from "@tensorflow/tfjs";
import type { Tensor2D } from "@tensorflow/tfjs";
import {
  type LogprobOptions,
  tokenLogprobs,
  tokenLogprobsF64,
  tokenLogprobsGradF64,
} from "../../../src/ops/head/token_logprobs.ts";
import { type OpCase, randomInts, uniform } from "../case.ts";
import { finalText } from "./final_logits.ts";

interface TokenLogprobsCase extends Partial<LogprobOptions> {
  scale?: number;
  benchOnly?: boolean;
}

/** Every fifth row is padding. With `differentiatesEntropy` the sum of log-prob and entropy is what is made. */
function tokenLogprobsCase(rows: number, vocab: number, options: TokenLogprobsCase = {}): OpCase {
  const { temperature = 1, scale = 4, benchOnly, softcap, divisor, differentiatesEntropy = false } = options;
  const made: LogprobOptions = { temperature, softcap, divisor, differentiatesEntropy };
  // Plain tfjs knows no spare rows.
  const tokens = randomInts(2, rows, vocab).map((token, r) => r % 5 === 3 && !benchOnly ? -1 : token);
  return {
    name: `token_logprobs ${rows}x${vocab} temperature ${temperature} logits to ${scale}${
      finalText(options)
    }${differentiatesEntropy ? ", with the entropy" : ""}`,
    inputs: { logits: uniform(1, [rows, vocab], scale), tokens: { shape: [rows], values: tokens } },
    run: ({ tensors }) => {
      const outputs = tokenLogprobs(tensors.logits, tensors.tokens, made);
      return differentiatesEntropy ? [tf.add(outputs[0], outputs[1])] : outputs;
    },
    twin: ({ logits, tokens }) => {
      const { logprobs, entropy } = tokenLogprobsF64(logits, tokens, vocab, made);
      return differentiatesEntropy
        ? [logprobs.map((value: number, r: number) => value + entropy[r])]
        : [logprobs, entropy];
    },
    gradient: {
      wrt: ["logits"],
      twin: ({ logits, tokens }, dy) => ({
        logits: tokenLogprobsGradF64(
          logits,
          tokens,
          { dlogprobs: dy, dentropy: differentiatesEntropy ? dy : null },
          vocab,
          made,
        ),
      }),
    },
    tolerance: 2e-5,
    toleranceReason: "f32 sums of up to 32000 terms; WGSL lets exp err by 3 + 2|x| ulp",
    benchOnly,
    bench: {
      bytes: 4 * rows * (vocab + 3),
      plainTfjs: ({ tensors }) => {
        const logsoftmax = tf.logSoftmax(tf.div(tensors.logits, temperature)) as Tensor2D;
        const chosen = tf.sum(tf.mul(logsoftmax, tf.oneHot(tensors.tokens.toInt(), vocab)), -1);
        return [chosen, tf.neg(tf.sum(tf.mul(tf.exp(logsoftmax), logsoftmax), -1))];
      },
    },
  };
}

export const cases: OpCase[] = [
  tokenLogprobsCase(4, 1),
  tokenLogprobsCase(7, 5),
  tokenLogprobsCase(9, 33, { temperature: 0.7 }),
  tokenLogprobsCase(6, 4),
  tokenLogprobsCase(7, 6),
  tokenLogprobsCase(6, 512, { temperature: 1.2 }),
  tokenLogprobsCase(6, 1372, { scale: 200 }),
  tokenLogprobsCase(5, 1001, { scale: 200 }),
  tokenLogprobsCase(9, 33, { temperature: 0.7, scale: 40, softcap: 30, divisor: 8 }),
  tokenLogprobsCase(6, 512, { temperature: 1.2, scale: 200, softcap: 30 }),
  tokenLogprobsCase(7, 6, { softcap: 0.5, divisor: 0.25 }),
  tokenLogprobsCase(5, 97, { scale: 40, divisor: 16 }),
  tokenLogprobsCase(7, 5, { differentiatesEntropy: true }),
  tokenLogprobsCase(9, 33, { temperature: 0.7, differentiatesEntropy: true }),
  tokenLogprobsCase(6, 512, { temperature: 1.2, differentiatesEntropy: true }),
  tokenLogprobsCase(9, 33, {
    temperature: 0.7,
    scale: 40,
    softcap: 30,
    divisor: 8,
    differentiatesEntropy: true,
  }),
  tokenLogprobsCase(5, 97, { scale: 40, divisor: 16, differentiatesEntropy: true }),
  tokenLogprobsCase(65_539, 3),
  tokenLogprobsCase(65_539, 4),
  tokenLogprobsCase(2048, 512, { benchOnly: true }),
  tokenLogprobsCase(256, 32000, { benchOnly: true }),
];
