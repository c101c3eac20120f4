/** Ops that do the work of several in one dispatch give the bits of the several. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../../bench/case.ts";
import { readFloats, uploadTensor, zeroTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { add } from "../../src/ops/add.ts";
import { residualNorm } from "../../src/ops/residual_norm.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import type { Weight } from "../../src/ops/weight.ts";

const EPS = 1e-5;
const floats = (seed: number, shape: number[]) =>
  uploadTensor(Float32Array.from(randomFloats(seed, shape.reduce((a, b) => a * b, 1))), shape);

async function bitsOf(tensors: Tensor[]): Promise<Uint32Array[]> {
  const values = await Promise.all(tensors.map((tensor) => readFloats(tensor)));
  return values.map((floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
}

type Norms = (x: Tensor, weight: Weight) => [Tensor, Tensor];

/** Stream, norm, and the gradients of x and weight. */
async function residualBits(rows: number, width: number, norms: Norms): Promise<Uint32Array[]> {
  const [x, tensor] = [floats(1, [rows, width]), floats(3, [width])];
  const weight: Weight = { name: "w", shape: [width], format: "f32", tensor, grad: zeroTensor([width]) };
  const joined = () => {
    const [stream, normed] = norms(x, weight);
    return add(stream, normed, 0.7);
  };
  const { grads } = tf.engine().gradients(joined, [x], floats(4, [rows, width]), false);
  return await bitsOf([...norms(x, weight), ...grads, weight.grad!]);
}

describe("fused ops", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const [rows, width] of [[1, 4], [5, 33], [37, 96], [3, 260]]) {
    it(`residual_norm of [${rows},${width}]: the bits of rms_norm beside x, forward and backward`, async () => {
      const apart: Norms = (x, weight) => [x, rmsNorm(x, weight, EPS)];
      const fused: Norms = (x, weight) => residualNorm(x, weight, EPS);
      assert.deepEqual(await residualBits(rows, width, fused), await residualBits(rows, width, apart));
    });
  }
});
