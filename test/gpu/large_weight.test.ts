/** A weight that is really larger than one binding of WebGPU's default limit: every row of it is used and trained. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { readFloats, uploadTensor, zeroTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withBindingLimit } from "../../src/gpu/trial_modes.ts";
import { adamw, adamwF64, type AdamwOptions } from "../../src/ops/optimizer/adamw.ts";
import { embedding } from "../../src/ops/rows/embedding.ts";
import { clipScale } from "../../src/ops/optimizer/grad_norm.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";

/** 164 MB. */
const [N, K] = [40_000, 1024];
/** Also where a device binds more. */
const limited = <R>(body: () => R): R => withBindingLimit(2 ** 27, body);
/** The ends, and both sides of where the second window begins. */
const LOOKED_AT = [0, 32_767, 32_768, N - 1];
const TOKENS = [32_768, 0, N - 1, 32_767, 32_768];
const x = Float32Array.from(randomFloats(1, 2 * K));
const dy = Float32Array.from(randomFloats(2, 2 * N));
const OPTIONS: AdamwOptions = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 1,
};

/** What the weight holds; exact in f32. */
const weightAt = (n: number, k: number) => (n * 403 + k * 973) % 1021 / 1024 - 0.5;
const usesOf = (n: number) => TOKENS.filter((token) => token === n).length;
const sumOver = (count: number, term: (i: number) => number) => {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += term(i);
  return sum;
};

/** Of sum(embedding(TOKENS)) and <dy, linear(x)> together. */
const gradAt = (n: number, k: number) => usesOf(n) + dy[n] * x[k] + dy[N + n] * x[K + k];
const lookedAt = (valueAt: (n: number, k: number) => number) =>
  LOOKED_AT.flatMap((n) => Array.from({ length: K }, (_, k) => valueAt(n, k)));

/** The norm of `gradAt`, by scalar products of the rows of x. */
function gradNorm(): number {
  const [xx, xz, zz] = [
    sumOver(K, (k) => x[k] ** 2),
    sumOver(K, (k) => x[k] * x[K + k]),
    sumOver(K, (k) => x[K + k] ** 2),
  ];
  const [sx, sz] = [sumOver(K, (k) => x[k]), sumOver(K, (k) => x[K + k])];
  return Math.sqrt(sumOver(N, (n) => {
    const [a, b, uses] = [dy[n], dy[N + n], usesOf(n)];
    return a * a * xx + 2 * a * b * xz + b * b * zz + 2 * uses * (a * sx + b * sz) + uses * uses * K;
  }));
}

function assertNear(actual: ArrayLike<number>, expected: number[], tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expected.forEach((value, i) => {
    assert.ok(
      Math.abs(actual[i] - value) <= tolerance * scale,
      `${what}[${i}] = ${actual[i]}, twin ${value}`,
    );
  });
}

/** The rows LOOKED_AT of a tensor as large as the weight. */
async function readRows(tensor: Tensor): Promise<Float32Array> {
  const table: Weight = { name: "rows", shape: [N, K], format: "f32", tensor, grad: null };
  return await readFloats(limited(() => embedding(tf.scalar(0), tf.tensor1d(LOOKED_AT, "int32"), table)));
}

function largeWeight(): Weight {
  const values = new Float32Array(N * K);
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) values[n * K + k] = weightAt(n, k);
  }
  return {
    name: "large",
    shape: [N, K],
    format: "f32",
    tensor: uploadTensor(values, [N, K]),
    grad: zeroTensor([N, K]),
  };
}

/** Outputs of embedding and linear, and the gradient of x; those of the weight are added to it. */
function runBoth(weight: Weight): Tensor[] {
  const [root, ids] = [tf.scalar(0), tf.tensor1d(TOKENS, "int32")];
  const input = tf.tensor2d(x, [2, K]);
  const gradients = (run: () => Tensor, wrt: Tensor, upstream: Tensor) =>
    tf.engine().gradients(run, [wrt], upstream, false) as { value: Tensor; grads: Tensor[] };
  const picked = gradients(() => embedding(root, ids, weight), root, tf.ones([TOKENS.length, K]));
  const product = gradients(() => linear(input, weight), input, tf.tensor2d(dy, [2, N]));
  return [picked.value, product.value, product.grads[0]];
}

describe("a weight of 164 MB", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("goes through embedding, linear, their gradients, the gradient norm and adamw as through their twins", async () => {
    const weight = largeWeight();
    const [picked, product, dx] = await Promise.all(limited(() => runBoth(weight)).map(readFloats));
    assertNear(
      picked,
      TOKENS.flatMap((n) => Array.from({ length: K }, (_, k) => weightAt(n, k))),
      0,
      "picked",
    );
    for (const m of [0, 1]) {
      const outputs = LOOKED_AT.map((n) => sumOver(K, (k) => x[m * K + k] * weightAt(n, k)));
      assertNear(LOOKED_AT.map((n) => product[m * N + n]), outputs, 1e-5, "y");
      const columns = [0, 510, K - 1];
      const sums = columns.map((k) => sumOver(N, (n) => dy[m * N + n] * weightAt(n, k)));
      assertNear(columns.map((k) => dx[m * K + k]), sums, 1e-4, "dx"); // f32 sums of 40000 terms
    }
    const before = lookedAt(weightAt);
    const grad = lookedAt(gradAt);
    assertNear(await readRows(weight.grad!), grad, 1e-6, "grad");

    const [firstMoment, secondMoment] = [zeroTensor([N, K]), zeroTensor([N, K])];
    const clip = limited(() => clipScale([weight.grad!], 1));
    limited(() =>
      adamw({ weight: weight.tensor, firstMoment, secondMoment, grad: weight.grad! }, clip, OPTIONS)
    );
    const [norm, scale] = await readFloats(clip);
    assertNear([norm], [gradNorm()], 1e-5, "norm");
    const none = new Float64Array(grad.length);
    const twin = adamwF64({ weight: before, m: none, v: none, grad }, scale, OPTIONS);
    assertNear(await readRows(weight.tensor), [...twin.weight], 1e-5, "weight");
    assertNear(await readRows(firstMoment), [...twin.m], 1e-5, "first moment");
    assertNear(await readRows(secondMoment), [...twin.v], 1e-5, "second moment");
    assertNear(await readRows(weight.grad!), [...none], 0, "cleared gradient");
    tf.dispose([weight.tensor, weight.grad!, firstMoment, secondMoment, clip]);
  });
});
