/** Every op against its f64 twin, forward and backward, and every twin's gradient against finite differences. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Arrays, OpCase } from "../cases/case.ts";
import { randomFloats } from "../cases/case.ts";
import { caseArrays } from "../cases/operands.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { allCases, checkForward, checkGradient, isLarge } from "./case_checks.ts";
import { fewer } from "./heavy_cases.ts";

const suites = await allCases();

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

describe("ops equal their f64 twins", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const { op, cases } of suites) {
    describe(op, () => {
      for (const opCase of fewer(op, cases)) {
        it(`${opCase.name}: forward, every word of its outputs and none behind them`, () =>
          checkForward(opCase));
        if (!opCase.gradient) continue;
        it(`${opCase.name}: gradient, added to what the weights have`, () => checkGradient(opCase));
        if (isLarge(opCase)) continue; // its twin is that of the others
        it(`${opCase.name}: the twin's gradient equals finite differences`, () =>
          checkTwinByFiniteDifferences(opCase));
      }
    });
  }
});
