/** What a case must hold, with whatever kernels, lanes and grids its op is run. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { type OpCase, type Operands, randomFloats } from "../cases/case.ts";
import { type CaseSuite, caseSuites } from "../cases/suites.ts";
import { caseArrays, caseOperands, disposeOperands } from "../cases/operands.ts";
import { copyOf, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { readGuarded, withGuardWords } from "../../src/gpu/trial_modes.ts";

/** How the kernels of a case are run. */
export type Mode = <R>(body: () => R) => R;
export const asTheyAre: Mode = (body) => body();

const GUARD_WORDS = 64;
const DY_SEED = 99;

/** The cases of every op but those of the benchmark alone; OP=rms_norm leaves one op's. */
export async function allCases(): Promise<CaseSuite[]> {
  const suites = await caseSuites(process.env.OP || undefined);
  return suites.map(({ op, cases }) => ({ op, cases: cases.filter((one) => !one.benchOnly) }));
}

/** Cases that pass WebGPU's 65535 workgroups by themselves. */
export function isLarge({ inputs }: OpCase): boolean {
  return Object.values(inputs).some(({ shape }) => shape[0] > 65_535);
}

export function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) most = Math.max(most, Math.abs(values[i]));
  }
  return most;
}

/** @param start what was there before, to which `expected` was added */
function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  opCase: OpCase,
  what: string,
  start?: ArrayLike<number>,
) {
  assert.equal(actual.length, expected.length, `${what}: length`);
  const scale = largest(expected) || 1;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue; // NaNs and infinities among them
    const error = Math.abs(actual[i] - (start?.[i] ?? 0) - expected[i]) / scale;
    assert.ok(
      error <= opCase.tolerance,
      `${what}[${i}] = ${actual[i]}${start ? ` from ${start[i]}` : ""}, twin ${
        expected[i]
      }: relative error ${error} > ${opCase.tolerance} (${opCase.toleranceReason})`,
    );
  }
}

async function assertGuarded(tensor: Tensor, expected: ArrayLike<number>, opCase: OpCase, what: string) {
  const { values, intact } = await readGuarded(tensor);
  assert.ok(intact, `${what}: words behind it were overwritten`);
  assertClose(values, expected, opCase, what);
}

/** Operands with guard words behind each: what a kernel reads there must not matter. */
function guardedOperands(...made: Parameters<typeof caseOperands>): Operands {
  const { tensors, weights } = caseOperands(...made);
  const guarded = (tensor: Tensor) => {
    const copy = withGuardWords(GUARD_WORDS, () => copyOf(tensor));
    tensor.dispose();
    return copy;
  };
  return {
    tensors: Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, guarded(tensor)])),
    weights: Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => [name, { ...weight, tensor: guarded(weight.tensor) }]),
    ),
  };
}

/** Outputs equal the twin's: all their words are written, and none behind them. */
export async function checkForward(opCase: OpCase, mode: Mode = asTheyAre): Promise<void> {
  const operands = guardedOperands(opCase);
  const { outputs } = withGuardWords(GUARD_WORDS, () => mode(() => ({ outputs: opCase.run(operands) })));
  const expected = opCase.twin(caseArrays(opCase));
  assert.equal(outputs.length, expected.length, "number of outputs");
  for (let i = 0; i < outputs.length; i++) {
    await assertGuarded(outputs[i], expected[i], opCase, `output ${i}`);
  }
  outputs.forEach((tensor) => tensor.dispose());
  disposeOperands(operands);
}

/** Gives the gradients of weights numbers to be added to. @param packed those of packed weights too */
export function startGradients({ weights }: Operands, packed = false): void {
  Object.values(weights).forEach((weight, n) => {
    if (!weight.grad && !packed) return;
    weight.grad?.dispose();
    const size = weight.shape.reduce((a, b) => a * b, 1);
    weight.grad = uploadTensor(Float32Array.from(randomFloats(300 + n, size)), weight.shape);
  });
}

function differentiable(opCase: OpCase): { inputs: string[]; weights: string[] } {
  const wrt = opCase.gradient!.wrt;
  return {
    inputs: wrt.filter((name) => !opCase.inputs[name].weight),
    weights: wrt.filter((name) => opCase.inputs[name].weight === "f32"),
  };
}

/** Runs the op and its gradient. @returns the gradients of the inputs; those of the weights are in the weights */
export function runGradient(opCase: OpCase, operands: Operands, dyValues: Float64Array): Tensor[] {
  const output = opCase.gradient!.output ?? 0;
  const xs = differentiable(opCase).inputs.map((name) => operands.tensors[name]);
  let shape: number[] = [];
  tf.tidy(() => {
    shape = opCase.run(operands)[output].shape;
  });
  const dy = tf.tensor(Float32Array.from(dyValues), shape);
  const { grads } = tf.engine().gradients(() => opCase.run(operands)[output], xs, dy, false) as {
    grads: Tensor[];
  };
  dy.dispose();
  return grads;
}

/**
 * Gradients equal the twin's; those of weights are added to what is there.
 * The weights' gradients begin about as large as what is added, so that the tolerance keeps its meaning.
 */
export async function checkGradient(opCase: OpCase, mode: Mode = asTheyAre): Promise<void> {
  const gradient = opCase.gradient!;
  const arrays = caseArrays(opCase);
  const dyValues = randomFloats(DY_SEED, opCase.twin(arrays)[gradient.output ?? 0].length);
  const expected = gradient.twin(arrays, dyValues);
  const { inputs, weights } = differentiable(opCase);
  const starts = Object.fromEntries(weights.map((name, n) => {
    const [size, scale] = [expected[name].length, largest(expected[name]) || 1];
    return [name, Float32Array.from(randomFloats(300 + n, size, scale))];
  }));
  const operands = guardedOperands(opCase, starts);
  const grads = withGuardWords(
    GUARD_WORDS,
    () => mode(() => runGradient(opCase, operands, dyValues)),
  );
  for (let i = 0; i < inputs.length; i++) {
    await assertGuarded(grads[i], expected[inputs[i]], opCase, `d${inputs[i]}`);
  }
  for (const name of weights) {
    const made = await readFloats(operands.weights[name].grad!);
    assertClose(made, expected[name], opCase, `d${name}`, starts[name]);
  }
  grads.forEach((tensor) => tensor.dispose());
  disposeOperands(operands);
}
