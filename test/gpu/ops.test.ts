/** Every op against its f64 twin, forward and backward, and every twin's gradient against finite differences. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { Arrays, OpCase } from "../../bench/case.ts";
import { randomFloats } from "../../bench/case.ts";
import { caseArrays, caseOperands, disposeOperands } from "../../bench/operands.ts";
import { readFloats } from "../../src/gpu/bridge.ts";
import { readGuarded, withGuardWords } from "../../src/gpu/test_modes.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";

const CASE_FOLDER = new URL("../../bench/cases/", import.meta.url);
const only = process.env.OP; // OP=rms_norm runs one op's cases

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, opCase: OpCase, what: string) {
  assert.equal(actual.length, expected.length, `${what}: length`);
  const scale = largest(expected) || 1;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / scale;
    assert.ok(
      error <= opCase.tolerance,
      `${what}[${i}] = ${actual[i]}, twin ${
        expected[i]
      }: relative error ${error} > ${opCase.tolerance} (${opCase.toleranceReason})`,
    );
  }
}

async function checkForward(opCase: OpCase) {
  const operands = caseOperands(opCase);
  // Uploaded before the guard is on: only what the op makes is guarded.
  const { outputs } = withGuardWords(64, () => ({ outputs: opCase.run(operands) }));
  const expected = opCase.twin(caseArrays(opCase));
  assert.equal(outputs.length, expected.length, "number of outputs");
  for (let i = 0; i < outputs.length; i++) {
    const { values, intact } = await readGuarded(outputs[i]);
    assert.ok(intact, `output ${i}: words behind it were overwritten`);
    assertClose(values, expected[i], opCase, `output ${i}`);
  }
  outputs.forEach((tensor) => tensor.dispose());
  disposeOperands(operands);
}

function differentiable(opCase: OpCase): { inputs: string[]; weights: string[] } {
  const wrt = opCase.gradient!.wrt;
  return {
    inputs: wrt.filter((name) => !opCase.inputs[name].weight),
    weights: wrt.filter((name) => opCase.inputs[name].weight === "f32"),
  };
}

async function checkGradient(opCase: OpCase) {
  const gradient = opCase.gradient!;
  const arrays = caseArrays(opCase);
  const output = gradient.output ?? 0;
  const size = opCase.twin(arrays)[output].length;
  const dyValues = randomFloats(99, size);
  const operands = caseOperands(opCase);
  const { inputs, weights } = differentiable(opCase);
  const xs = inputs.map((name) => operands.tensors[name]);
  let shape: number[] = [size];
  tf.tidy(() => {
    shape = opCase.run(operands)[output].shape;
  });
  const dy = tf.tensor(Float32Array.from(dyValues), shape);
  const { grads } = tf.engine().gradients(() => opCase.run(operands)[output], xs, dy, false) as {
    grads: Tensor[];
  };
  const expected = gradient.twin(arrays, dyValues);
  for (let i = 0; i < inputs.length; i++) {
    assertClose(await readFloats(grads[i]), expected[inputs[i]], opCase, `d${inputs[i]}`);
  }
  for (const name of weights) {
    assertClose(await readFloats(operands.weights[name].grad!), expected[name], opCase, `d${name}`);
  }
  grads.forEach((tensor) => tensor.dispose());
  dy.dispose();
  disposeOperands(operands);
}

/** <dtwin/dinputs, v> by the twin's gradient equals the central difference of <dy, twin> along v, in f64. */
function checkTwinByFiniteDifferences(opCase: OpCase) {
  const gradient = opCase.gradient!;
  const arrays = caseArrays(opCase);
  const output = gradient.output ?? 0;
  const dy = randomFloats(99, opCase.twin(arrays)[output].length);
  const grads = gradient.twin(arrays, dy);
  const step = 1e-5;
  const directions = Object.fromEntries(
    gradient.wrt.map((name, i) => [name, randomFloats(500 + i, arrays[name].length)]),
  );
  const valueAt = (sign: number) => {
    const moved: Arrays = { ...arrays };
    for (const name of gradient.wrt) {
      moved[name] = Float64Array.from(arrays[name], (value, i) => value + sign * step * directions[name][i]);
    }
    const outputs = opCase.twin(moved)[output];
    return dy.reduce((sum, value, i) => sum + value * outputs[i], 0);
  };
  const numeric = (valueAt(1) - valueAt(-1)) / (2 * step);
  let analytic = 0;
  let scale = 1e-6;
  for (const name of gradient.wrt) {
    directions[name].forEach((value, i) => {
      analytic += value * grads[name][i];
      scale += Math.abs(value * grads[name][i]);
    });
  }
  // Central differences in f64 at h = 1e-5 are good to about h^2 of the summed terms' size.
  assert.ok(
    Math.abs(numeric - analytic) <= 1e-6 * scale,
    `finite difference ${numeric}, gradient ${analytic}`,
  );
}

const files = readdirSync(CASE_FOLDER).filter((name) =>
  name.endsWith(".ts") && (!only || name === `${only}.ts`)
).sort();
const suites = await Promise.all(
  files.map(async (file) => ({
    file,
    cases: (await import(new URL(file, CASE_FOLDER).href)).cases as OpCase[],
  })),
);

describe("ops equal their f64 twins", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const { file, cases } of suites) {
    describe(file.replace(".ts", ""), () => {
      for (const opCase of cases.filter((one) => !one.benchOnly)) {
        it(`${opCase.name}: forward, and nothing written past its outputs`, () => checkForward(opCase));
        if (!opCase.gradient) continue;
        it(`${opCase.name}: gradient`, () => checkGradient(opCase));
        it(`${opCase.name}: the twin's gradient equals finite differences`, () =>
          checkTwinByFiniteDifferences(opCase));
      }
    });
  }
});
