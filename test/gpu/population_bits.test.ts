/** Factors, what they add and the step along them: a GPU's lanes and sums in parts give a software device's bits. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cases as factorCases } from "../cases/population/member_factors.ts";
import { cases as linearCases } from "../cases/population/member_linears.ts";
import { cases as updateCases } from "../cases/population/member_update.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { caseBits } from "./case_bits.ts";
import { asTheyAre } from "./case_checks.ts";

describe("low-rank perturbations of a population", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const opCase of [...factorCases, ...linearCases, ...updateCases]) {
    it(`${opCase.name}: the bits of a software device's kernels`, async () => {
      assert.deepEqual(await caseBits(opCase, withGpuLanes), await caseBits(opCase, asTheyAre));
    });
  }
});
