/** Weights that are larger than one binding go through in windows, and no bit of a result shows it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import fc from "fast-check";
import { type OpCase, type Operands, randomFloats } from "../cases/case.ts";
import { adamwCase } from "../cases/optimizer/adamw.ts";
import { embeddingCase } from "../cases/rows/embedding.ts";
import { normCase } from "../cases/optimizer/grad_norm.ts";
import { linearCase, linearsCase } from "../cases/linear/linear.ts";
import { lmHeadCase } from "../cases/head/lm_head_logprobs.ts";
import { updateCase } from "../cases/population/member_update.ts";
import { swigluLinearCase } from "../cases/linear/swiglu_linear.ts";
import { packCase, unpackCase } from "../cases/weight/pack.ts";
import { caseOperands, disposeOperands } from "../cases/operands.ts";
import { readTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withBindingLimit, withGuardWords, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { windowsOf } from "../../src/gpu/windows.ts";
import { startGradients } from "./case_checks.ts";

type Mode = <R>(body: () => R) => R;

/** Each with a limit that its other tensors keep to, and its weight does not: windows of 128 rows or 256, and a rest. */
const CASES: [OpCase, limit: number][] = [
  [linearCase(33, 64, 300), 40_000],
  [linearCase(5, 36, 300, { bias: "f32", residual: true }), 20_000],
  [linearCase(5, 36, 301), 20_000],
  [linearCase(6, 35, 302, { bias: "f32", residual: true }), 20_000],
  [linearsCase(5, 36, [300, 280], { bias: "f32" }), 20_000],
  [linearCase(3, 40, 270, { format: "bf16", bias: "bf16", rows: "few" }), 21_000],
  [linearCase(3, 10, 390, { format: "f16", bias: "bf16" }), 6_000],
  [linearCase(9, 48, 400, { format: "bf16", bias: "f32" }), 25_000],
  [swigluLinearCase(9, 36, 300), 20_000],
  [embeddingCase(67, 300, 34, "f32"), 18_000],
  [embeddingCase(67, 300, 34, "bf16"), 9_300],
  [embeddingCase(67, 401, 6, "f16"), 2_000],
  // Logits of 128 rows are over the limit as well: the chunks become smaller.
  [lmHeadCase(150, 136, 301, { chunkRows: 128, temperature: 0.8 }), 80_000],
  [lmHeadCase(150, 136, 301, { chunkRows: 64, format: "bf16" }), 80_000],
  [adamwCase(1000, 0.25), 1_100],
  [adamwCase(1000, 0), 1_100],
  [normCase([33, 20_000, 8192, 9001], 1), 34_000],
  [updateCase(300, 36, 2, 3), 20_000],
  [packCase(37, 34, "bf16"), 1_100],
  [unpackCase(37, 34, "f16"), 1_100],
];

/** Bytes that must go through in windows: of the matrix and of its gradient, or of the largest tensor. */
function windowedBytes({ tensors, weights }: Operands): number {
  const matrices = Object.values(weights).filter(({ shape }) => shape.length === 2);
  const sizes = matrices.flatMap(({ tensor, grad }) => [tensor.size, grad!.size]);
  return 4 *
    (sizes.length > 0 ? Math.min(...sizes) : Math.max(...Object.values(tensors).map(({ size }) => size)));
}

/** Outputs, gradients of the inputs, and gradients of the weights (of the packed ones too), in order. */
function resultsOf(opCase: OpCase, operands: Operands): Tensor[] {
  const outputs = opCase.run(operands);
  if (!opCase.gradient) return outputs;
  const inputs = opCase.gradient.wrt.filter((name) => name in operands.tensors);
  const dy = tf.tensor(Float32Array.from(randomFloats(5, outputs[0].size)), outputs[0].shape);
  const { grads } = tf.engine().gradients(
    () => opCase.run(operands)[0],
    inputs.map((name) => operands.tensors[name]),
    dy,
    false,
  ) as { grads: Tensor[] };
  return [...outputs, ...grads, ...Object.values(operands.weights).flatMap(({ grad }) => grad ?? [])];
}

async function bitsOf(opCase: OpCase, mode: Mode, limit = 0): Promise<Uint32Array[]> {
  const operands = caseOperands(opCase);
  startGradients(operands, true);
  assert.ok(windowedBytes(operands) > limit, "the case does not test what it is for");
  const values = await Promise.all(
    withGuardWords(0, () => mode(() => resultsOf(opCase, operands))).map((tensor) => readTensor(tensor)),
  );
  disposeOperands(operands);
  return values.map(({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length));
}

describe("tensors larger than one binding", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const [opCase, limit] of CASES) {
    it(`${opCase.name} within bindings of ${limit} bytes: the same bits, with plain kernels too`, async () => {
      const whole = await bitsOf(opCase, (body) => body());
      assert.deepEqual(await bitsOf(opCase, (body) => withBindingLimit(limit, body), limit), whole);
      const plain: Mode = (body) => withPlainKernels(() => withBindingLimit(limit, body));
      assert.deepEqual(await bitsOf(opCase, plain, limit), whole);
    });
  }

  it("windows follow each other, begin at aligned offsets and fit a binding", () => {
    const sizes = fc.record({
      count: fc.integer({ min: 1, max: 5000 }),
      itemBytes: fc.integer({ min: 1, max: 200 }).map((words) => 2 * words),
      limit: fc.integer({ min: 128 * 400, max: 2 ** 20 }),
    });
    fc.assert(fc.property(sizes, ({ count, itemBytes, limit }) => {
      const windows = withBindingLimit(limit, () => windowsOf(count, itemBytes));
      let next = 0;
      for (const window of windows) {
        assert.equal(window.first, next);
        assert.equal(window.first * itemBytes % 256, 0);
        assert.ok(window.count > 0 && window.count * itemBytes <= limit);
        next += window.count;
      }
      assert.equal(next, count);
      assert.equal(windows.length === 1, count * itemBytes <= limit);
    }));
  });

  it("what a binding takes exactly goes through at once, and one item more in two windows", async () => {
    const windows = (count: number) => withBindingLimit(500 * 64, () => windowsOf(count, 64)).length;
    assert.deepEqual([499, 500, 501].map(windows), [1, 1, 2]);
    const opCase = linearCase(8, 36, 300);
    const bits = await bitsOf(opCase, (body) => withBindingLimit(300 * 36 * 4, body));
    assert.deepEqual(bits, await bitsOf(opCase, (body) => body()));
  });

  it("activations over the limit are an error that names it", async () => {
    const opCase = linearCase(64, 36, 300);
    await assert.rejects(
      bitsOf(opCase, (body) => withBindingLimit(40_000, body)),
      /: y of shape \[64,300\] needs 76800 bytes, this GPU binds at most 40000; use a smaller batch/,
    );
  });
});
