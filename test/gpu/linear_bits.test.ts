/** The bits of a row depend on nothing but the row and the weight: not on the kernel, the batch or the chunk. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats, randomInts } from "../cases/case.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import { lmHeadLogprobs } from "../../src/ops/head/lm_head_logprobs.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";
import { swigluLinear } from "../../src/ops/linear/swiglu_linear.ts";
import { withPlainKernels } from "../../src/gpu/trial_modes.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";

const M = 150;
const K = 96;
const N = 72;
const V = 37;

const matrix = (seed: number, rows: number, columns: number) =>
  tf.tensor2d(Float32Array.from(randomFloats(seed, rows * columns)), [rows, columns]);

function weightOf(seed: number, rows: number): Weight {
  return {
    name: "w",
    shape: [rows, K],
    format: "f32",
    tensor: matrix(seed, rows, K),
    grad: tf.zeros([rows, K]),
  };
}

function rowsOf(x: Tensor, first: number, count: number, width: number) {
  return tf.slice(x, [first, 0], [count, width]);
}

/** dx and weight.grad of y = x w^T, rows in pieces of the given size. */
async function linearGradients(piece: number) {
  const x = matrix(1, M, K);
  const dy = matrix(3, M, N);
  const weight = weightOf(2, N);
  const dx: number[] = [];
  for (let first = 0; first < M; first += piece) {
    const count = Math.min(piece, M - first);
    const window = rowsOf(x, first, count, K);
    const { grads } = tf.engine().gradients(
      () => linear(window, weight),
      [window],
      rowsOf(dy, first, count, N),
    ) as {
      grads: Tensor[];
    };
    dx.push(...await readFloats(grads[0]));
  }
  return { dx: Float32Array.from(dx), dw: await readFloats(weight.grad!) };
}

async function headLogprobs(chunkRows: number) {
  const h = matrix(1, M, K);
  const head = weightOf(2, V);
  const tokens = tf.tensor1d(randomInts(3, M, V), "int32");
  const dy = tf.tensor1d(Float32Array.from(randomFloats(4, M)));
  const options = { temperature: 0.8, chunkRows };
  const { value, grads } = tf.engine().gradients(
    () => lmHeadLogprobs(h, head, tokens, options)[0],
    [h],
    dy,
  ) as {
    value: Tensor;
    grads: Tensor[];
  };
  return [await readFloats(value), await readFloats(grads[0]), await readFloats(head.grad!)];
}

describe("bits of linear layers", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("linear() gives the same bits with few rows and with many, alone and in a batch", async () => {
    const x = matrix(1, M, K);
    const weight = weightOf(2, N);
    const many = await readFloats(linear(x, weight));
    for (const [row, count] of [[0, 1], [77, 7], [20, 8], [M - 1, 1]]) {
      const few = await readFloats(linear(rowsOf(x, row, count, K), weight, { rows: "few" }));
      assert.deepEqual(few, many.slice(row * N, (row + count) * N));
    }
  });

  it("a residual gives the bits of adding it afterwards", async () => {
    const [x, residual, weight] = [matrix(1, M, K), matrix(5, M, N), weightOf(2, N)];
    for (const rows of ["few", "many"] as const) {
      const [part, rest] = [rowsOf(x, 3, 7, K), rowsOf(residual, 3, 7, N)];
      const added = await readFloats(add(rest, linear(part, weight, { rows })));
      assert.deepEqual(await readFloats(linear(part, weight, { residual: rest, rows })), added);
    }
  });

  it("swigluLinear() gives the bits of its parts, and says that it has no gradient", async () => {
    const [x, gate, up] = [matrix(1, M, K), weightOf(2, N), weightOf(3, N)];
    for (const mode of [withPlainKernels, <R>(body: () => R) => body()]) {
      const parts = await readFloats(mode(() => swiglu(linear(x, gate), linear(x, up))));
      assert.deepEqual(await readFloats(mode(() => swigluLinear(x, gate, up))), parts);
    }
    assert.throws(
      () => tf.engine().gradients(() => swigluLinear(x, gate, up), [x], matrix(4, M, N)),
      /Cannot differentiate swigluLinear: .*; use swiglu\(linear\(x, gate\), linear\(x, up\)\)/,
    );
  });

  it("gradients of linear() have the same bits however the rows are split into micro-batches", async () => {
    const whole = await linearGradients(M);
    assert.deepEqual(await linearGradients(33), whole);
    assert.deepEqual(await linearGradients(1), whole);
  });

  it("lmHeadLogprobs() and its gradients have the same bits in chunks of any size", async () => {
    const whole = await headLogprobs(192);
    assert.deepEqual(await headLogprobs(64), whole);
    assert.deepEqual(await headLogprobs(128), whole);
  });

  it("lmHeadLogprobs() refuses chunks whose windows would not be aligned", () => {
    assert.throws(
      () =>
        lmHeadLogprobs(matrix(1, 3, K), weightOf(2, V), tf.tensor1d([0, 1, 2], "int32"), {
          temperature: 1,
          chunkRows: 96,
        }),
      /chunks of 96 rows: need a positive multiple of 64/,
    );
  });
});
