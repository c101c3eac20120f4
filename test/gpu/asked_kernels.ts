/** Which kernels the cases of the ops ask for, with which conditions and constants. */
import * as tf from "@tensorflow/tfjs";
import { type OpCase, randomFloats } from "../cases/case.ts";
import { caseOperands, disposeOperands } from "../cases/operands.ts";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { withFloat16Matmuls, withGpuLanes, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { type Conditions, kernelConditions, kernelNames } from "../../src/gpu/wgsl.ts";
import { withLinearVariant } from "../../src/ops/linear/facts.ts";
import { WIDE_UNITS } from "../../src/ops/linear/tiles.ts";
import { allCases, asTheyAre, isLarge, type Mode, runGradient } from "./case_checks.ts";

export interface AskedKernel {
  kernel: string;
  conditions: Conditions;
  constants: Record<string, number>;
}

/** Runs a case and its gradient where it has one. */
export function runCase(opCase: OpCase, mode: Mode): void {
  const operands = caseOperands(opCase);
  tf.tidy(() => {
    const outputs = mode(() => opCase.run(operands));
    if (!opCase.gradient) return;
    const { size } = outputs[opCase.gradient.output ?? 0];
    mode(() => runGradient(opCase, operands, randomFloats(1, size)));
  });
  disposeOperands(operands);
}

/** As on a GPU that multiplies in workgroup memory. */
const withTiles: Mode = (body) => withLinearVariant("16x32x32 by 4x4", body);
/** As on a GPU that has too little memory for a workgroup's tiles. */
const withPlainGpu: Mode = (body) => withGpuLanes(() => withPlainKernels(body));
/** On a GPU's matrix units of either size, in either tile. */
const withUnits: Mode = (body) => withGpuLanes(() => withFloat16Matmuls(body));
const withSmallUnits: Mode = (body) =>
  withGpuLanes(() => withFloat16Matmuls(() => withLinearVariant(WIDE_UNITS, body), 8));
/** Every way to run a case. */
export const MODES: readonly Mode[] = [
  asTheyAre,
  withPlainKernels,
  withGpuLanes,
  withTiles,
  withPlainGpu,
  withUnits,
  withSmallUnits,
];

/** The specialisations that the cases of all ops ask for, run in these ways on a device that only counts. */
export async function askedKernels(modes: readonly Mode[]): Promise<AskedKernel[]> {
  const asked = new Map<string, AskedKernel>();
  await rehearse(async () => {
    const { device } = tfjsBackend();
    const make = device.createComputePipeline;
    device.createComputePipeline = (descriptor) => {
      const { label = "", compute } = descriptor;
      const [kernel] = label.split(" ");
      if (kernelNames().includes(kernel)) { // not a stock op's
        const conditions = Object.fromEntries(
          kernelConditions(kernel).map((name) => [name, label.includes(`"${name}":true`)]),
        );
        asked.set(label, { kernel, conditions, constants: compute.constants as Record<string, number> });
      }
      return make(descriptor);
    };
    for (const { cases } of await allCases()) {
      for (const opCase of cases.filter((one) => !isLarge(one))) {
        for (const mode of modes) runCase(opCase, mode);
      }
    }
  });
  return [...asked.values()];
}
