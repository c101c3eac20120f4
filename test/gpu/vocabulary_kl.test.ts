/** KL over the whole vocabulary: the GPU's against sums in f64, near and far. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { causalAttend, headLogits, trunkForward, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { answersKl, vocabularyKl } from "../../src/policy/vocabulary_kl.ts";
import { vocabularyKlF64 } from "../../src/rl/vocabulary_kl.ts";
import { randomFloats } from "../cases/case.ts";
import { FAMILIES, familyPolicy } from "./family_policies.ts";

before(openGpu);

async function klOf(own: Float32Array, base: Float32Array, vocabulary: number): Promise<Float32Array> {
  const shape: [number, number] = [own.length / vocabulary, vocabulary];
  const kl = tf.tidy(() => vocabularyKl(tf.tensor2d(own, shape), tf.tensor2d(base, shape)));
  const values = await readFloats(kl);
  kl.dispose();
  return values;
}

const rowsOf = (values: Float32Array, size: number) =>
  Array.from({ length: values.length / size }, (_, row) => values.subarray(row * size, (row + 1) * size));

describe("KL over the vocabulary", () => {
  // f32 log-probs of about 10 nats are exact to 1e-6, which a difference d has too; d enters squared.
  for (
    const [name, spread, relative] of [["near", 0.003, 2e-3], ["apart", 0.5, 1e-4], [
      "far",
      30,
      1e-5,
    ]] as const
  ) {
    it(`is that of f64 for distributions ${name}, also of odd sizes`, async () => {
      const [rows, vocabulary] = [3, 1001];
      const own = Float32Array.from(randomFloats(1, rows * vocabulary, 4));
      const base = Float32Array.from(
        randomFloats(2, rows * vocabulary, spread),
        (value, i) => value + own[i],
      );
      const found = await klOf(own, base, vocabulary);
      const bases = rowsOf(base, vocabulary);
      rowsOf(own, vocabulary).forEach((row, i) => {
        const wanted = vocabularyKlF64(row, bases[i]);
        assert.ok(Math.abs(found[i] - wanted) <= relative * wanted, `${found[i]}, in f64 ${wanted}`);
      });
    });
  }

  it("is 0 of a distribution from itself, and what a sure token lacks in the other", async () => {
    const own = Float32Array.of(0, 0, 0, 60, 0, 0);
    const base = Float32Array.of(0, 0, 0, 0, 60, 0);
    const [none, much] = await klOf(Float32Array.of(...own, ...own), Float32Array.of(...own, ...base), 6);
    assert.equal(none, 0);
    assert.ok(Math.abs(much - vocabularyKlF64(own, base)) < 1e-4, String(much));
  });

  it("needs as many logits of both", () => {
    assert.throws(() => vocabularyKlF64([1, 2], [1]), /required as many logits of both, got 2 and 1/);
    const even = Math.log(3);
    assert.ok(Math.abs(vocabularyKlF64([0, even], [even, 0]) - 0.5 * even) < 1e-15, "(3/4 - 1/4) log 3");
  });
});

describe("KL over answers", () => {
  const answers = [
    { prompt: [1, 5, 9], tokens: [3, 4, 2] },
    { prompt: [1, 7], tokens: [6] },
    { prompt: [1, 5, 9, 2, 8], tokens: Array.from({ length: 70 }, (_, i) => 3 + i % 9) },
  ];

  /** The model's logits of every token of a sequence. */
  async function logitsIn(policy: Policy, ids: readonly number[]): Promise<Float32Array[]> {
    const logits = tf.tidy(() => {
      const sequences = uploadSequences(packSequences([ids]));
      const hidden = trunkForward(policy, sequences, causalAttend(policy, sequences), "many");
      return headLogits(policy, hidden, "many");
    });
    const values = await readFloats(logits);
    logits.dispose();
    return rowsOf(values, policy.config.vocabSize);
  }

  // Its logits have a softcap, and its embedding a scale.
  for (const family of ["Gemma 2"]) {
    it(`sums what f64 makes of the logits in each place of each answer (${family})`, async () => {
      const policy = await familyPolicy(FAMILIES[family]);
      const base = await familyPolicy({ ...FAMILIES[family], rms_norm_eps: 0.3 });
      const found = await answersKl(policy, base, answers);
      for (const [i, { prompt, tokens }] of answers.entries()) {
        const ids = [...prompt, ...tokens];
        const [own, other] = [await logitsIn(policy, ids), await logitsIn(base, ids)];
        const wanted = tokens.reduce((sum, _, t) => {
          const at = prompt.length - 1 + t;
          return sum + vocabularyKlF64(own[at], other[at]);
        }, 0);
        assert.ok(wanted > 1e-4, String(wanted));
        assert.ok(Math.abs(found[i] - wanted) < 1e-4 * wanted + 1e-6, `${found[i]}, in f64 ${wanted}`);
      }
      assert.deepEqual(await answersKl(policy, policy, answers), [0, 0, 0]);
    });
  }

  it("is refused of models of two vocabularies, and of nothing", async () => {
    const policy = await familyPolicy({});
    const larger = await familyPolicy({ vocab_size: policy.config.vocabSize + 1 });
    await assert.rejects(
      answersKl(policy, larger, answers),
      /required one vocabulary, got \d+ and \d+ tokens/,
    );
    await assert.rejects(answersKl(policy, policy, [{ prompt: [1], tokens: [] }]), /an empty text/);
    assert.deepEqual(await answersKl(policy, policy, []), []);
  });
});
