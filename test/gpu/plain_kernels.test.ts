/** Where a device has subgroup kernels, the plain ones still give the same bits: a run does not depend on the choice. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cases as attentionCases } from "../cases/attention/attention.ts";
import { cases as decodeCases } from "../cases/attention/attention_decode.ts";
import { cases as linearCases } from "../cases/linear/linear.ts";
import { cases as swigluLinearCases } from "../cases/linear/swiglu_linear.ts";
import { withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { caseBits } from "./case_bits.ts";
import { asTheyAre } from "./case_checks.ts";
import { isRunHere } from "./heavy_cases.ts";

describe("plain and subgroup kernels", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  const all = [...linearCases, ...swigluLinearCases, ...attentionCases, ...decodeCases];
  for (const opCase of all.filter((one) => !one.benchOnly && isRunHere(one))) {
    it(`${opCase.name}: the same bits`, async () => {
      assert.deepEqual(await caseBits(opCase, withPlainKernels), await caseBits(opCase, asTheyAre));
    });
  }
});
