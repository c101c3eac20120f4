/** The kernels that a GPU would run equal their twins where grids are folded, as test/gpu/folded_grids.test.ts says. */
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { checkForward, checkGradient, type Mode } from "../gpu/case_checks.ts";
import { folded, foldedCases } from "../gpu/folded.ts";
import { isMatmul, isOtherWidth } from "../gpu/heavy_cases.ts";

const mode: Mode = (body) => folded(() => withGpuLanes(body));
/** Matmuls fold nothing, and Deno runs them in every test. */
const cases = (await foldedCases()).filter(({ op }) => !isMatmul(op))
  .flatMap(({ cases }) => cases.filter((opCase) => !isOtherWidth(opCase)));

describe("folded grids of a GPU's kernels", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const opCase of cases) {
    it(`${opCase.name}: forward`, () => checkForward(opCase, mode));
    if (opCase.gradient) it(`${opCase.name}: gradient`, () => checkGradient(opCase, mode));
  }
});
