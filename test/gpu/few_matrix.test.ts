/** Decoding's layers on matrix units have the bits of training's, where a device has such units. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { WeightFormat } from "../../src/ops/weight/weight.ts";
import { adaptedCase, layersOf } from "../cases/linear/adapted.ts";
import { caseOperands } from "../cases/operands.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { matrixUnitsMissing } from "../../src/gpu/precision.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { type Dispatch, withDispatchLog, withFloat16Matmuls } from "../../src/gpu/trial_modes.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";
import { adaptedLinears } from "../../src/ops/linear/adapted.ts";
import { adaptedSwiglu } from "../../src/ops/linear/adapted_swiglu.ts";
import { linearF16F64 } from "../../src/ops/linear/matrix_units.ts";
import { leftOut } from "../left_out.ts";

interface Layers {
  widths: number[];
  ranks: number[];
  format?: WeightFormat;
  bias?: boolean;
  residual?: boolean;
}

const GROUPS: [name: string, K: number, layers: Layers][] = [
  ["one layer", 64, { widths: [33], ranks: [0], bias: true, residual: true }],
  ["one adapted layer", 516, { widths: [70], ranks: [5], residual: true }],
  ["queries, keys and values", 264, { widths: [64, 20, 17], ranks: [3, 0, 18] }],
  ["queries, keys and values with biases", 72, {
    widths: [16, 20, 17],
    ranks: [0, 0, 0],
    format: "bf16",
    bias: true,
  }],
  ["two adapted layers", 1000, { widths: [24, 41], ranks: [16, 16], format: "f16" }],
  ["layers of so many columns that their tiles are wide", 136, {
    widths: [8100, 97],
    ranks: [3, 0],
    format: "bf16",
  }],
];
/** Each tile of rows full and not; 16 and fewer, 17 to 32 and 33 to 64 on a GPU take tiles of their own. */
const ROWS = [1, 8, 9, 17, 33, 64];
const MOST = Math.max(...ROWS);

describe("layers of few rows on matrix units", () => {
  let missing: string | undefined;
  before(async () => {
    await openGpu();
    missing = matrixUnitsMissing();
  });
  after(closeGpu);

  for (const [name, K, layers] of GROUPS) {
    it(`${name}: one dispatch gives each row the bits that it has among many, however few there are`, async (test) => {
      if (missing) return test.skip(leftOut(test.name, missing));
      const sizes = { M: MOST, K, ...layers };
      const operands = caseOperands(adaptedCase(MOST, K, layers.widths, layers));
      const { x, residual } = operands.tensors;
      const made = layersOf(operands, sizes);
      const many = await withFloat16Matmuls(() =>
        Promise.all(adaptedLinears(x, made, { residual }).map(readFloats))
      );
      for (const rows of ROWS) {
        const first = MOST - rows;
        const part = (whole: Tensor) => tf.slice(whole, [first, 0], [rows, whole.shape[1]!]);
        const options = { residual: residual && part(residual), rows: "few" as const };
        const own = part(x);
        const log: Dispatch[] = [];
        const few = withFloat16Matmuls(() => withDispatchLog(log, () => adaptedLinears(own, made, options)));
        const values = await Promise.all(few.map(readFloats));
        values.forEach((each, i) => {
          assert.deepEqual(each, many[i].slice(first * layers.widths[i]), `${rows} rows, layer ${i}`);
        });
        assert.equal(log.filter(({ kernel }) => kernel.startsWith("linear_few_matrix")).length, 1);
      }
    });
  }

  for (const [width, ...ranks] of [[37, 0, 0], [37, 4, 0], [37, 17, 3], [4100, 17, 3]]) {
    it(`gate and up of ${width} columns and ranks ${ranks}: the bits of two layers and swiglu`, async (test) => {
      if (missing) return test.skip(leftOut(test.name, missing));
      const sizes = { M: 35, K: 296, widths: [width, width], ranks };
      const operands = caseOperands(adaptedCase(sizes.M, sizes.K, sizes.widths, { ranks, format: "bf16" }));
      const [gate, up] = layersOf(operands, sizes);
      const { x } = operands.tensors;
      const wanted = await withFloat16Matmuls(() => {
        const [g, u] = adaptedLinears(x, [gate, up]);
        return readFloats(swiglu(g, u));
      });
      const log: Dispatch[] = [];
      const made = withFloat16Matmuls(() => withDispatchLog(log, () => adaptedSwiglu(x, gate, up, "few")));
      assert.deepEqual(await readFloats(made), wanted);
      assert.ok(log.length <= 3, `${log.map(({ kernel }) => kernel)}`);
    });
  }

  it("equal their twin to the rounding of f32 sums", async (test) => {
    if (missing) return test.skip(leftOut(test.name, missing));
    const sizes = { M: 19, K: 200, widths: [50], ranks: [0] };
    const operands = caseOperands(adaptedCase(sizes.M, sizes.K, sizes.widths, { ranks: [0] }));
    const { x } = operands.tensors;
    const layers = layersOf(operands, sizes);
    const [made] = withFloat16Matmuls(() => adaptedLinears(x, layers, { rows: "few" }));
    const [values, xs, ws] = await Promise.all([made, x, layers[0].weight.tensor].map(readFloats));
    const twin = linearF16F64(xs, ws, { M: sizes.M, K: sizes.K, N: 50 });
    const largest = Math.max(...twin.map(Math.abs));
    twin.forEach((value, i) => assert.ok(Math.abs(values[i] - value) <= 1e-6 * largest, `${i}`));
  });
});
