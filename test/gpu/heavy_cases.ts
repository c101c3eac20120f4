/** Cases whose kernels a software GPU compiles for minutes, as a GPU runs them, where there is no cache of shaders yet. */
import process from "node:process";
import type { OpCase } from "../cases/case.ts";

const MATMULS = ["linear", "swiglu_linear", "lm_head_logprobs"];
/** Of attention in tiles, which take as long for each width of a head. */
const OTHER_WIDTH = /^attention(_decode)? .*heads of (?!16\b)/;

export const isMatmul = (op: string): boolean => MATMULS.includes(op);
export const isOtherWidth = ({ name }: OpCase): boolean => OTHER_WIDTH.test(name);

/**
 * Cases in the lanes of a GPU, beside those of the device that is there: they compile for seconds each, and are run by
 * themselves in a pass of the GPU variants' tests, which sets this.
 */
const IN_GPU_LANES = process.env.GRPO_TEST_GPU_LANES === "1";
export const isRunHere = ({ name }: OpCase): boolean => name.includes("lanes as on a GPU") === IN_GPU_LANES;

/** Set for a pass that is not about every format and width: other tests run those. */
const IS_SHORT = process.env.GRPO_TEST_FEWER_CASES === "1";

/** Of matmuls every third case, of attention one width of heads; all that are run here where nobody asks for fewer. */
export const fewer = (op: string, cases: readonly OpCase[]): readonly OpCase[] => {
  const run = cases.filter(isRunHere);
  return IS_SHORT ? run.filter((opCase, i) => isMatmul(op) ? i % 3 === 0 : !isOtherWidth(opCase)) : run;
};
