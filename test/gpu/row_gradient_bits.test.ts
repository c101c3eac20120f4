/**
 * Gradients that are summed over rows, as a GPU sums them and as a software device does: the same bits. Both start from
 * what is there and go by the rows in order, so that a batch may be split (accumulation.test.ts).
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cases as normCases } from "../cases/norm/rms_norm.ts";
import { cases as embeddingCases, embeddingCase } from "../cases/rows/embedding.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { caseBits } from "./case_bits.ts";
import { asTheyAre, isLarge } from "./case_checks.ts";

/** More tokens than are looked at in one round (kernels/rows/embedding_grad_rows.wgsl), most of them several times. */
const MANY_TOKENS = embeddingCase(8200, 300, 8, "f32");

describe("gradients summed over rows", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const opCase of [...normCases, ...embeddingCases, MANY_TOKENS]) {
    if (opCase.benchOnly || !opCase.gradient || isLarge(opCase)) continue;
    it(`${opCase.name}: the bits of a software device's kernels`, async () => {
      assert.deepEqual(await caseBits(opCase, withGpuLanes), await caseBits(opCase, asTheyAre));
    });
  }
});
