/**
 * Every kernel that the code can ask for is one that this runtime's own compiler takes: under every set of its
 * conditions, and with the constants of every call that the ops' cases make.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";
import { hasSimd8 } from "../../src/gpu/device_facts.ts";
import { explainCompileError, kernelNames, linkKernel } from "../../src/gpu/wgsl.ts";
import { conditionSets, missingVariants } from "../condition_sets.ts";
import { leftOut } from "../left_out.ts";
import { type AskedKernel, askedKernels, MODES } from "./asked_kernels.ts";

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

/** Makes a kernel's module, and with constants its pipeline. @returns what the compiler says, of the source file */
async function complaint(
  { kernel, conditions, constants }: Omit<AskedKernel, "constants"> & Partial<AskedKernel>,
) {
  const { device } = tfjsBackend();
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: linkKernel(kernel, conditions).text });
  if (constants) {
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
  }
  const error = await device.popErrorScope();
  return error ? explainCompileError(kernel, conditions, error.message) : undefined;
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
    const asked = await askedKernels(MODES);
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
