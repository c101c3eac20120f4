/**
 * Every kernel that the code can ask for is one that this runtime's own compiler takes: under every set of its
 * conditions, and with the constants of every call that the ops' cases make.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { type OpCase, randomFloats } from "../cases/case.ts";
import { caseOperands, disposeOperands } from "../cases/operands.ts";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";
import { hasSimd8 } from "../../src/gpu/device_facts.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import {
  type Conditions,
  explainCompileError,
  kernelConditions,
  kernelNames,
  linkKernel,
} from "../../src/gpu/wgsl.ts";
import { withFloat16Matmuls, withGpuLanes, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { withLinearVariant } from "../../src/ops/linear/facts.ts";
import { WIDE_UNITS } from "../../src/ops/linear/tiles.ts";
import { conditionSets, missingVariants } from "../condition_sets.ts";
import { leftOut } from "../left_out.ts";
import { allCases, asTheyAre, isLarge, type Mode, runGradient } from "./case_checks.ts";

/** What a device must have for an extension of WGSL. */
const FEATURES: Readonly<Record<string, string>> = {
  f16: "shader-f16",
  subgroups: "subgroups",
  chromium_experimental_subgroup_matrix: "chromium-experimental-subgroup-matrix",
};

/** What a linked text needs and this device lacks; Dawn's null device takes those in matrix_units.test.ts. */
function missingFeatures(text: string): string[] {
  const { features } = tfjsBackend().device;
  return [...text.matchAll(/^enable (\w+);/gm)].map(([, name]) => FEATURES[name] ?? name)
    .filter((feature) => !features.has(feature));
}

interface Asked {
  kernel: string;
  conditions: Conditions;
  constants: Record<string, number>;
}

/** Makes a kernel's module, and with constants its pipeline. @returns what the compiler says, of the source file */
async function complaint({ kernel, conditions, constants }: Omit<Asked, "constants"> & Partial<Asked>) {
  const { device } = tfjsBackend();
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: linkKernel(kernel, conditions).text });
  if (constants) {
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
  }
  const error = await device.popErrorScope();
  return error ? explainCompileError(kernel, conditions, error.message) : undefined;
}

/** Runs a case and its gradient where it has one. */
function runCase(opCase: OpCase, mode: Mode): void {
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
/** On matrix units of either size, in either tile. */
const withUnits: Mode = (body) => withFloat16Matmuls(body);
const withSmallUnits: Mode = (body) => withFloat16Matmuls(() => withLinearVariant(WIDE_UNITS, body), 8);
const MODES: readonly Mode[] = [
  asTheyAre,
  withPlainKernels,
  withGpuLanes,
  withTiles,
  withUnits,
  withSmallUnits,
];

/** The specialisations that the cases of all ops ask for, in every way to run them; on a device that only counts. */
async function askedFor(): Promise<Asked[]> {
  const asked = new Map<string, Asked>();
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
        for (const mode of MODES) runCase(opCase, mode);
      }
    }
  });
  return [...asked.values()];
}

describe("the compiler of this runtime takes", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const kernel of kernelNames()) {
    it(`${kernel}, under every set of its conditions`, async (t) => {
      for (const conditions of conditionSets(kernel)) {
        const missing = missingFeatures(linkKernel(kernel, conditions).text);
        if (missing.length > 0) {
          assert.ok(
            detectRuntime() === "deno" || missing.includes(FEATURES.chromium_experimental_subgroup_matrix),
          );
          return t.skip(leftOut(t.name, `no ${missing.join(", ")} here`));
        }
        const said = await complaint({ kernel, conditions });
        assert.equal(said, undefined, said);
      }
    });
  }

  it("every specialisation that the ops' cases ask for, and these are of every kernel and condition", async (t) => {
    if (process.env.OP) return t.skip(leftOut(t.name, "OP leaves out the cases of other ops"));
    const asked = await askedFor();
    const unasked = kernelNames().flatMap((kernel) => {
      const made = asked.filter((one) => one.kernel === kernel)
        .map(({ conditions }) => ({ holds: (name: string) => conditions[name] ?? false }));
      return missingVariants(kernel, made, hasSimd8());
    });
    assert.deepEqual(unasked, []);
    for (const one of asked) {
      if (missingFeatures(linkKernel(one.kernel, one.conditions).text).length > 0) continue;
      const said = await complaint(one);
      assert.equal(said, undefined, `${said}, with ${JSON.stringify(one.constants)}`);
    }
    t.diagnostic(`${asked.length} specialisations`);
  });
});
