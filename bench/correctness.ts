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

/** @throws Error when `output` of the case is further from what `against` gives than allowed */
function assertClose(
  { name }: OpCase,
  output: number,
  { error, allowed, against }: { error: number; allowed: number; against: string },
): void {
  if (error <= allowed) return;
  throw new Error(
    `Not timed: output ${output} of ${name} is off by ${error} (relative) against ${against}, allowed ${allowed}`,
  );
}

async function checkAgainstTwin(opCase: OpCase): Promise<void> {
  const operands = caseOperands(opCase);
  const outputs = tf.tidy(() => opCase.run(operands));
  const expected = opCase.twin(caseArrays(opCase));
  for (const [i, output] of outputs.entries()) {
    const error = relativeError(await readTensor(output), expected[i]);
    assertClose(opCase, i, { error, allowed: opCase.tolerance, against: "its f64 twin" });
  }
  tf.dispose(outputs);
  disposeOperands(operands);
}

/** Checks a few of an op's test cases. @throws Error when one is wrong */
export async function checkOp(cases: readonly OpCase[]): Promise<void> {
  const small = cases.filter(({ benchOnly }) => !benchOnly);
  const every = Math.max(1, Math.ceil(small.length / CHECKED_CASES));
  for (const opCase of small.filter((_, i) => i % every === 0)) await checkAgainstTwin(opCase);
}

/** Checks a benchmark's outputs against another library's. @throws Error when one is wrong */
export async function checkAgainstPeer(
  op: string,
  opCase: OpCase,
  peer: { name: string; run(operands: Operands): Tensor[] },
): Promise<void> {
  if (PLAIN_DIFFERS.includes(op)) return;
  const operands = caseOperands(opCase);
  const expected = tf.tidy(() => peer.run(operands)); // before ours, which may work in place
  const outputs = tf.tidy(() => opCase.run(operands));
  for (const [i, wanted] of expected.entries()) {
    const error = relativeError(await readTensor(outputs[i]), await readTensor(wanted));
    // Two f32 results, each as far from the truth as the case allows.
    assertClose(opCase, i, { error, allowed: 2 * opCase.tolerance, against: peer.name });
  }
  tf.dispose([...expected, ...outputs]);
  disposeOperands(operands);
}
