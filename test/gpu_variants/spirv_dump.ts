/**
 * Run on its own, with Dawn's toggle `dump_shaders`: makes a pipeline of every kernel under every set of its conditions
 * and with the constants of every call that the ops' cases make, as on a GPU and as here. Dawn prints the SPIR-V of
 * each; a line before it says of which (`MARK`), one after it what was refused. Its output must be a file: Dawn loses
 * what a full pipe does not take.
 */
import { writeSync } from "node:fs";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { explainCompileError, kernelNames, linkKernel } from "../../src/gpu/wgsl.ts";
import { conditionSets } from "../condition_sets.ts";
import { type AskedKernel, askedKernels, MODES } from "../gpu/asked_kernels.ts";
import { MARK, REFUSED } from "./spirv_text.ts";

/** How many conditions hold in both or in neither. */
function likeness(a: AskedKernel["conditions"], b: AskedKernel["conditions"]): number {
  return Object.keys(a).filter((name) => a[name] === b[name]).length;
}

/** Every set of a kernel's conditions with constants: of the calls that are asked for, the likest first. */
function borrowed(kernel: string, asked: readonly AskedKernel[]): AskedKernel[] {
  return conditionSets(kernel).map((conditions) => {
    const known = asked.filter((one) => one.kernel === kernel)
      .sort((a, b) => likeness(conditions, a.conditions) - likeness(conditions, b.conditions));
    const all = Object.assign({}, ...known.map(({ constants }) => constants));
    const names = linkKernel(kernel, conditions).overrides.map(({ name }) => name);
    const constants = Object.fromEntries(
      names.filter((name) => name in all).map((name) => [name, all[name]]),
    );
    return { kernel, conditions, constants };
  });
}

await openGpu();
const asked = await askedKernels(MODES);
const wanted = new Map<string, AskedKernel>();
for (const one of [...asked, ...kernelNames().flatMap((kernel) => borrowed(kernel, asked))]) {
  // Other conditions may give the same text.
  const key = JSON.stringify([
    linkKernel(one.kernel, one.conditions).text,
    Object.entries(one.constants).sort(),
  ]);
  if (!wanted.has(key)) wanted.set(key, one);
}
const { device } = tfjsBackend();
for (const { kernel, conditions, constants } of wanted.values()) {
  writeSync(1, `${MARK}${JSON.stringify({ kernel, conditions, constants })}\n`);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: linkKernel(kernel, conditions).text });
  device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
  const error = await device.popErrorScope();
  if (error) {
    const said = explainCompileError(kernel, conditions, error.message);
    writeSync(1, `${REFUSED}${said.replaceAll("\n", " ")}\n`);
  }
}
await closeGpu();
process.exit();
