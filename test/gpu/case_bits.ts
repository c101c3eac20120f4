/** The bits that a case's kernels give, for comparing one choice of kernels with another. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { type OpCase, type Operands, randomFloats } from "../cases/case.ts";
import { caseOperands } from "../cases/operands.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { withGuardWords } from "../../src/gpu/trial_modes.ts";
import { type Mode, startGradients } from "./case_checks.ts";

/** Outputs of `run` and all gradients of a case, in order; new tensors begin as NaNs, and gradients of weights as numbers. */
export async function caseBits(
  opCase: OpCase,
  choose: Mode,
  run: (operands: Operands) => Tensor[] = opCase.run,
): Promise<Uint32Array[]> {
  const operands = caseOperands(opCase);
  startGradients(operands);
  const tensors = withGuardWords(0, () =>
    choose(() => {
      const outputs = run(operands);
      const [output] = outputs;
      if (!opCase.gradient) return outputs;
      const xs = opCase.gradient.wrt.filter((name) => name in operands.tensors).map((name) =>
        operands.tensors[name]
      );
      const dy = tf.tensor(Float32Array.from(randomFloats(5, output.size)), output.shape);
      const { grads } = tf.engine().gradients(() => run(operands)[0], xs, dy, false) as {
        grads: Tensor[];
      };
      return [...outputs, ...grads, ...Object.values(operands.weights).flatMap(({ grad }) => grad ?? [])];
    }));
  const values = await Promise.all(tensors.map((tensor) => readFloats(tensor)));
  return values.map((floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
}
