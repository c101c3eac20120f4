/** Matrix products in workgroup memory, which CPUs are not given by themselves: the same bits as in registers alone. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { type OpCase, type Operands, randomFloats } from "../cases/case.ts";
import { linearCase } from "../cases/linear/linear.ts";
import { lmHeadCase } from "../cases/head/lm_head_logprobs.ts";
import { caseOperands, disposeOperands } from "../cases/operands.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withBindingLimit, withGuardWords, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { withLinearVariant } from "../../src/ops/linear/facts.ts";
import { startGradients } from "./case_checks.ts";

type Mode = <R>(body: () => R) => R;

const LARGE = "128x128x8 by 8x8";
const SMALL = "16x32x32 by 4x4";

function constantCase(M: number, K: number, N: number, x: number, w: number): OpCase {
  const { inputs, ...rest } = linearCase(M, K, N);
  const filled = {
    x: { ...inputs.x, values: new Float64Array(M * K).fill(x) },
    w: { ...inputs.w, values: new Float64Array(N * K).fill(w) },
  };
  return { ...rest, name: `${rest.name} of ${x} and ${w}`, inputs: filled };
}

/**
 * Rows from 1 to more than a tile; columns and sums below, at and above multiples of a tile and of a slab. A software
 * GPU takes seconds to compile a kernel, so each format meets one tile.
 */
const CASES: [OpCase, tiles: string[]][] = [
  [linearCase(1, 4, 1), [LARGE, SMALL]],
  [linearCase(1, 36, 68), [LARGE, SMALL]],
  [linearCase(17, 64, 128), [LARGE, SMALL]],
  [linearCase(65, 132, 33), [LARGE, SMALL]],
  [linearCase(63, 8, 31), [SMALL]],
  [linearCase(129, 20, 129), [LARGE, SMALL]],
  [linearCase(130, 148, 60), [LARGE, SMALL, "64x64x16 by 8x4"]],
  [linearCase(130, 20, 133, { bias: "f32" }), [SMALL]],
  [linearCase(18, 32, 20, { bias: "f32", residual: true }), [SMALL]],
  [linearCase(33, 24, 20, { format: "bf16", bias: "bf16" }), [SMALL]],
  [linearCase(19, 136, 72, { format: "f16", bias: "f16" }), [SMALL]],
  // Products that are too small for f32: sums of -0, to which no 0 may be added.
  [constantCase(3, 20, 4, -1e-30, 1e-30), [LARGE, SMALL]],
  // Rows of logits that are longer than the vocabulary.
  [lmHeadCase(70, 40, 133, { chunkRows: 64, temperature: 0.8 }), [LARGE, SMALL]],
];

/** Outputs, gradients of the inputs, and of the weights, packed ones too, in order. */
function resultsOf(opCase: OpCase, { tensors, weights }: Operands): Tensor[] {
  const inputs = opCase.gradient!.wrt.filter((name) => name in tensors);
  const output = opCase.run({ tensors, weights })[0];
  const dy = tf.tensor(Float32Array.from(randomFloats(5, output.size)), output.shape);
  const { grads } = tf.engine().gradients(
    () => opCase.run({ tensors, weights })[0],
    inputs.map((name) => tensors[name]),
    dy,
    false,
  ) as { grads: Tensor[] };
  return [output, ...grads, ...Object.values(weights).flatMap(({ grad }) => grad ?? [])];
}

async function bitsOf(opCase: OpCase, mode: Mode): Promise<Uint32Array[]> {
  const operands = caseOperands(opCase);
  startGradients(operands, true);
  const values = await Promise.all(
    withGuardWords(0, () => mode(() => resultsOf(opCase, operands))).map((tensor) => readFloats(tensor)),
  );
  disposeOperands(operands);
  return values.map(({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length));
}

describe("matrix products in workgroup memory", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const [opCase, tiles] of CASES) {
    for (const name of tiles) {
      it(`${opCase.name} in ${name}: the same bits`, async () => {
        const tiled: Mode = (body) => withLinearVariant(name, body);
        assert.deepEqual(await bitsOf(opCase, tiled), await bitsOf(opCase, withPlainKernels));
      });
    }
  }

  it("a weight in windows, of which the later ones go on from dx: the same bits", async () => {
    const opCase = linearCase(33, 64, 300);
    const windowed: Mode = (body) => withLinearVariant(SMALL, () => withBindingLimit(40_000, body));
    assert.deepEqual(await bitsOf(opCase, windowed), await bitsOf(opCase, withPlainKernels));
  });
});
