/** Nothing is timed before its result is right: against the f64 twin at small sizes, plain tfjs at full size. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readTensor } from "../src/gpu/tensors.ts";
import type { OpCase, Operands } from "../test/cases/case.ts";
import { caseArrays, caseOperands, disposeOperands } from "../test/cases/operands.ts";

/** Ops whose plain composition draws or sums something else than the op returns: the twin alone judges them. */
const PLAIN_DIFFERS = ["sample", "grpo_loss"];
/** Small cases of an op that are checked before its benchmark. */
const CHECKED_CASES = 3;

/** Largest |actual - expected| over the largest |expected|; NaN where one is none. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [worst, scale] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    if (Number.isNaN(error)) return NaN;
    worst = Math.max(worst, error);
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return worst / (scale || 1);
}

interface Reference {
  name: string;
  /** Largest error that is allowed. */
  tolerance: number;
  /** What it makes of the operands, before ours, which may work in place. */
  outputs(operands: Operands): Promise<ArrayLike<number>[]>;
}

/** Runs a case once. @throws Error when an output is further from the reference's than allowed */
export async function holdAgainst(opCase: OpCase, { name, tolerance, outputs }: Reference): Promise<void> {
  const operands = caseOperands(opCase);
  const expected = await outputs(operands);
  const found = tf.tidy(() => opCase.run(operands));
  for (const [i, wanted] of expected.entries()) {
    const error = relativeError(await readTensor(found[i]), wanted);
    if (error <= tolerance) continue;
    throw new Error(
      `Not timed: output ${i} of ${opCase.name} is off by ${error} (relative) against ${name}, allowed ${tolerance}`,
    );
  }
  tf.dispose(found);
  disposeOperands(operands);
}

/** Checks a few of an op's test cases. @throws Error when one is wrong */
export async function checkOp(cases: readonly OpCase[]): Promise<void> {
  const small = cases.filter(({ benchOnly }) => !benchOnly);
  const every = Math.max(1, Math.ceil(small.length / CHECKED_CASES));
  for (const opCase of small.filter((_, i) => i % every === 0)) {
    const outputs = () => Promise.resolve(opCase.twin(caseArrays(opCase)));
    await holdAgainst(opCase, { name: "its f64 twin", tolerance: opCase.tolerance, outputs });
  }
}

/** Two f32 results, each as far from the truth as the case allows. */
export const peerTolerance = ({ tolerance }: OpCase) => 2 * tolerance;

/** Checks a benchmark's outputs against its composition in stock tfjs. @throws Error when one is wrong */
export async function checkAgainstTfjs(
  op: string,
  opCase: OpCase,
  plain: (operands: Operands) => Tensor[],
): Promise<void> {
  if (PLAIN_DIFFERS.includes(op)) return;
  let made: Tensor[] = [];
  const outputs = (operands: Operands) => {
    made = tf.tidy(() => plain(operands));
    return Promise.all(made.map(readTensor));
  };
  await holdAgainst(opCase, { name: "plain tfjs", tolerance: peerTolerance(opCase), outputs });
  tf.dispose(made);
}
