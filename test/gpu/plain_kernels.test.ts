/** Where a device has subgroup kernels, the plain ones still give the same bits: a run does not depend on the choice. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { OpCase } from "../cases/case.ts";
import { randomFloats } from "../cases/case.ts";
import { cases as attentionCases } from "../cases/attention/attention.ts";
import { cases as decodeCases } from "../cases/attention/attention_decode.ts";
import { cases as linearCases } from "../cases/linear/linear.ts";
import { cases as swigluLinearCases } from "../cases/linear/swiglu_linear.ts";
import { caseOperands } from "../cases/operands.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { withGuardWords, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { startGradients } from "./case_checks.ts";

/** Outputs and all gradients of a case, in order; new tensors begin as NaNs, and gradients of weights as numbers. */
async function bitsOf(opCase: OpCase, choose: <R>(body: () => R) => R): Promise<Uint32Array[]> {
  const operands = caseOperands(opCase);
  startGradients(operands);
  const tensors = withGuardWords(0, () =>
    choose(() => {
      const outputs = opCase.run(operands);
      const [output] = outputs;
      if (!opCase.gradient) return outputs;
      const xs = opCase.gradient.wrt.filter((name) => name in operands.tensors).map((name) =>
        operands.tensors[name]
      );
      const dy = tf.tensor(Float32Array.from(randomFloats(5, output.size)), output.shape);
      const { grads } = tf.engine().gradients(() => opCase.run(operands)[0], xs, dy, false) as {
        grads: Tensor[];
      };
      return [...outputs, ...grads, ...Object.values(operands.weights).flatMap(({ grad }) => grad ?? [])];
    }));
  const values = await Promise.all(tensors.map((tensor) => readFloats(tensor)));
  return values.map((floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
}

describe("plain and subgroup kernels", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  const all = [...linearCases, ...swigluLinearCases, ...attentionCases, ...decodeCases];
  for (const opCase of all.filter((one) => !one.benchOnly)) {
    it(`${opCase.name}: the same bits`, async () => {
      assert.deepEqual(await bitsOf(opCase, withPlainKernels), await bitsOf(opCase, (body) => body()));
    });
  }
});
