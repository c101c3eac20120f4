/** Compute pipelines of the kernels, compiled once per device, set of conditions and set of constants. */
import { reportGpuFailure } from "./device.ts";
import { type Conditions, explainCompileError, type LinkedKernel, linkKernel } from "./wgsl.ts";

export type KernelConstants = Readonly<Record<string, number>>;

/** Which code of a kernel runs: conditions choose text, constants fill in its `override`s. */
export interface KernelVariant {
  /** Name of the file below kernels/ without .wgsl. */
  kernel: string;
  conditions?: Conditions;
  constants?: KernelConstants;
}

/** The kernel's name, and the conditions that hold. */
function variantName({ kernel, conditions = {} }: KernelVariant): string {
  const holding = Object.keys(conditions).filter((name) => conditions[name]).sort();
  return [kernel, ...holding].join(" ");
}

export interface KernelPipeline extends LinkedKernel {
  /** For profiles and messages: the kernel, and the conditions that hold. */
  name: string;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

const pipelines = new WeakMap<GPUDevice, Map<string, KernelPipeline>>();

/** @throws Error when a constant is missing, or none of the kernel's */
function checkConstants({ file, overrides }: LinkedKernel, constants: KernelConstants): void {
  const unknown = Object.keys(constants).filter((name) => !overrides.some((each) => each.name === name));
  const missing = overrides.filter(({ name, hasDefault }) => !hasDefault && !(name in constants));
  if (unknown.length === 0 && missing.length === 0) return;
  const names = (list: string[]) => list.join(", ") || "none";
  throw new Error(
    `Cannot specialise ${file}: its overrides are ${names(overrides.map(({ name }) => name))}; unknown: ${
      names(unknown)
    }; missing: ${names(missing.map(({ name }) => name))}`,
  );
}

function compile(device: GPUDevice, variant: KernelVariant): KernelPipeline {
  const { kernel, conditions = {}, constants = {} } = variant;
  const linked = linkKernel(kernel, conditions);
  checkConstants(linked, constants);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: kernel, code: linked.text });
  const pipeline = device.createComputePipeline({
    label: `${kernel} ${JSON.stringify({ ...conditions, ...constants })}`,
    layout: "auto",
    compute: { module, entryPoint: "main", constants },
  });
  const layout = pipeline.getBindGroupLayout(0);
  void device.popErrorScope().then((error) => {
    if (error) reportGpuFailure(explainCompileError(kernel, conditions, error.message), true);
  });
  return { ...linked, name: variantName(variant), pipeline, layout };
}

/**
 * Pipeline of a kernel (entry point `main`), and its interface. Constants and conditions select code and tile sizes;
 * shapes travel in the uniform, so few pipelines are ever compiled. What a compiler refuses, the next read-back tells.
 * @throws Error when there is no such kernel, condition or constant
 */
export function kernelPipeline(device: GPUDevice, variant: KernelVariant): KernelPipeline {
  let byKey = pipelines.get(device);
  if (!byKey) pipelines.set(device, byKey = new Map());
  const { kernel, conditions, constants } = variant;
  const key = JSON.stringify([kernel, conditions, constants]);
  let found = byKey.get(key);
  if (!found) byKey.set(key, found = compile(device, variant));
  return found;
}
