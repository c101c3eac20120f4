/** Layers with adapters give the bits of what they stand for, whatever the device, the kernels and the rows. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { Operands } from "../cases/case.ts";
import { adaptedCase, cases as adaptedCases, layersOf } from "../cases/linear/adapted.ts";
import { cases as shrinkCases } from "../cases/linear/lora_shrink.ts";
import { caseOperands } from "../cases/operands.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { withGpuLanes, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { adaptedLinears } from "../../src/ops/linear/adapted.ts";
import { linear, linears } from "../../src/ops/linear/linear.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { caseBits } from "./case_bits.ts";

const asChosen = <R>(body: () => R): R => body();
/** Three layers as one, of which the first and the last have adapters. */
const SIZES = { M: 37, K: 64, widths: [24, 12, 8], ranks: [4, 0, 7] };
const small = adaptedCase(SIZES.M, SIZES.K, SIZES.widths, SIZES);

/** The same layers by separate ops. */
function separately({ tensors, weights }: Operands): Tensor[] {
  const names = SIZES.widths.map((_, i) => `w${i}`);
  const [y0, y1, y2, low0, low2] = linears(tensors.x, [...names, "a0", "a2"].map((name) => weights[name]));
  const added = (y: Tensor, low: Tensor, b: string) => add(y, linear(low, weights[b]), 1.5);
  const ys = [added(y0, low0, "b0"), y1, added(y2, low2, "b2")];
  return [tf.concat(ys, 1), ...ys];
}

describe("layers with adapters", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("give the bits of separate products and sums, forward and backward", async () => {
    const wanted = await caseBits(small, asChosen, separately);
    for (const mode of [asChosen, withPlainKernels, withGpuLanes]) {
      assert.deepEqual(await caseBits(small, mode), wanted);
    }
  });

  for (const opCase of [...adaptedCases, ...shrinkCases]) {
    it(`${opCase.name}: the same bits as on a GPU`, async () => {
      const forward = { ...opCase, gradient: undefined };
      assert.deepEqual(await caseBits(forward, withGpuLanes), await caseBits(forward, asChosen));
    });
  }

  it("give a row the same bits alone, among few and among many", async () => {
    const sizes = { M: 70, K: 516, widths: [24, 12], ranks: [16, 8] };
    const operands = caseOperands(adaptedCase(sizes.M, sizes.K, sizes.widths, sizes));
    const layers = layersOf(operands, sizes);
    const { x } = operands.tensors;
    for (const mode of [asChosen, withGpuLanes]) {
      const [many] = await Promise.all(mode(() => adaptedLinears(x, layers)).map(readFloats));
      for (const [first, count] of [[0, 1], [3, 2], [61, 9]]) {
        const some = tf.slice(x, [first, 0], [count, sizes.K]);
        const [few] = mode(() => adaptedLinears(some, layers, { rows: "few" }));
        assert.deepEqual(await readFloats(few), many.slice(first * 24, (first + count) * 24));
      }
    }
  });
});
