/** The kernels that a GPU would run equal their twins where grids are folded, as test/gpu/folded_grids.test.ts says. */
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { checkForward, checkGradient, type Mode } from "../gpu/case_checks.ts";
import { folded, foldedCases } from "../gpu/folded.ts";

/** A software GPU compiles matmuls of many lanes for minutes; they fold nothing, and Deno runs them in every test. */
const MATMULS = ["linear", "swiglu_linear", "lm_head_logprobs"];
/** Of attention in tiles, which take as long for each width of a head: one width, under all conditions. */
const OTHER_WIDTH = /^attention(_decode)? .*heads of (?!16\b)/;
const mode: Mode = (body) => folded(() => withGpuLanes(body));
const cases = (await foldedCases()).filter(({ op }) => !MATMULS.includes(op))
  .flatMap(({ cases }) => cases.filter(({ name }) => !OTHER_WIDTH.test(name)));

describe("folded grids of a GPU's kernels", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const opCase of cases) {
    it(`${opCase.name}: forward`, () => checkForward(opCase, mode));
    if (opCase.gradient) it(`${opCase.name}: gradient`, () => checkGradient(opCase, mode));
  }
});
