/** KL of a policy from another over whole answers: of the full distributions at every token's place. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readFloats } from "../gpu/tensors.ts";
import { linear } from "../ops/linear/linear.ts";
import { inverseRows } from "../ops/rows/gather_rows.ts";
import { bucketRows, packSequences } from "./packing.ts";
import { logitsOf, pickedHidden, uploadSequences } from "./transformer.ts";
import type { PickedRows, Policy, SequenceTensors } from "./trunk.ts";

/** Tokens of a pass: they fill a GPU. */
const PASS_TOKENS = 2048;
/** Logits of one model that exist at a time, at most. */
const CHUNK_VALUES = 2 ** 22;
/** Differences of log-probs below which the terms of a series are more exact than exponentials in f32. */
const SERIES_BELOW = 0.03;
/** Beyond it p is nothing beside q, and exp of the difference would leave f32. */
const LEAST_DIFFERENCE = -30;

/** An answer as token ids. */
export interface AnswerTokens {
  prompt: readonly number[];
  /** Up to and including its end. */
  tokens: readonly number[];
}

/**
 * KL(p || q) = sum over v of p_v d_v of each row, d_v = log p_v - log q_v, nats. It is summed as p_v (d_v + exp(-d_v) -
 * 1), which is the same, as both distributions sum to 1; but no term is below 0, so that in f32 small values are not
 * lost in the rounding of large ones. Twin: src/rl/vocabulary_kl.ts#vocabularyKlF64.
 * @param own f32 [N,V], @param base f32 [N,V], logits @returns f32 [N]
 */
export function vocabularyKl(own: Tensor, base: Tensor): Tensor {
  return tf.tidy(() => {
    const logP = tf.logSoftmax(own);
    const d = tf.sub(logP, tf.logSoftmax(base));
    const p = tf.exp(logP);
    // d^2/2 - d^3/6 + d^4/24
    const series = tf.mul(tf.square(d), tf.add(0.5, tf.mul(d, tf.add(-1 / 6, tf.mul(d, 1 / 24)))));
    const bounded = tf.maximum(d, LEAST_DIFFERENCE);
    const whole = tf.add(bounded, tf.sub(tf.exp(tf.neg(bounded)), 1));
    const near = tf.mul(p, tf.where(tf.less(tf.abs(d), SERIES_BELOW), series, whole));
    const far = tf.add(tf.mul(p, tf.sub(d, 1)), tf.exp(tf.sub(logP, d)));
    return tf.sum(tf.where(tf.less(d, LEAST_DIFFERENCE), far, near), 1);
  });
}

/**
 * Nats of each answer, summed over its tokens: KL(policy || base) of the next token's distribution at temperature 1, in
 * every place of the answer. It is exact but for rounding: no sample stands for a distribution.
 * @throws RangeError when the models' vocabularies differ in size, or a prompt or answer is empty
 */
export async function answersKl(
  policy: Policy,
  base: Policy,
  answers: readonly AnswerTokens[],
): Promise<number[]> {
  const [own, other] = [policy.config.vocabSize, base.config.vocabSize];
  if (own !== other) {
    throw new RangeError(
      `Cannot compare the models' distributions: required one vocabulary, got ${own} and ${other} tokens; compare ` +
        "models of one kind",
    );
  }
  if (answers.some(({ prompt, tokens }) => prompt.length === 0 || tokens.length === 0)) {
    throw new RangeError("Cannot compare distributions over an empty text: need a prompt and an answer");
  }
  const sums: number[] = [];
  for (const pass of passesOf(answers)) {
    const kls = tf.tidy(() => tokenKls(policy, base, pass));
    const values = await readFloats(kls);
    kls.dispose();
    let first = 0;
    for (const { tokens } of pass) {
      sums.push(values.subarray(first, first += tokens.length).reduce((sum, value) => sum + value, 0));
    }
  }
  return sums;
}

function* passesOf(answers: readonly AnswerTokens[]): Generator<AnswerTokens[]> {
  let pass: AnswerTokens[] = [];
  let size = 0;
  for (const answer of answers) {
    const own = answer.prompt.length + answer.tokens.length;
    if (pass.length > 0 && size + own > PASS_TOKENS) {
      yield pass;
      [pass, size] = [[], 0];
    }
    pass.push(answer);
    size += own;
  }
  if (pass.length > 0) yield pass;
}

/** @returns f32 [M, padded]: of each token of the answers in turn */
function tokenKls(policy: Policy, base: Policy, answers: readonly AnswerTokens[]): Tensor {
  // Nothing is predicted from the last token, so it is not read.
  const packed = packSequences(answers.map(({ prompt, tokens }) => [...prompt, ...tokens.slice(0, -1)]));
  const count = answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const rows = new Int32Array(bucketRows(count)).fill(-1);
  let m = 0;
  answers.forEach(({ prompt, tokens }, i) => {
    tokens.forEach((_, t) => rows[m++] = packed.starts[i] + prompt.length - 1 + t);
  });
  const i32 = (values: Int32Array) => tf.tensor1d(values, "int32");
  const picked = { rows: i32(rows), inverse: i32(inverseRows(rows, packed.ids.length)) };
  const sequences = uploadSequences(packed);
  const hidden = [policy, base].map((one) => hiddenOf(one, sequences, picked));
  const { vocabSize, hiddenSize } = policy.config;
  const sizes = [hiddenSize, base.config.hiddenSize];
  const chunk = Math.max(1, Math.floor(CHUNK_VALUES / vocabSize));
  const parts: Tensor[] = [];
  for (let first = 0; first < rows.length; first += chunk) {
    const size = Math.min(chunk, rows.length - first);
    parts.push(tf.tidy(() => {
      const [own, other] = [policy, base].map((one, i) => {
        const part = tf.slice(hidden[i], [first, 0], [size, sizes[i]]);
        return logitsOf(one, linear(part, one.weights.head, { rows: "many" }));
      });
      return vocabularyKl(own, other);
    }));
  }
  return parts.length === 1 ? parts[0] : tf.concat(parts);
}

const hiddenOf = (policy: Policy, sequences: SequenceTensors, picked: PickedRows) =>
  tf.tidy(() => pickedHidden(policy, sequences, picked));
