/** Compute pipelines of the kernels, compiled once per device, set of conditions and set of constants. */
import { tfjsBackend } from "./backend.ts";
import { reportGpuFailure } from "./failure.ts";
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
  variant: KernelVariant;
  /** Compiled at the first asking, if not before by compileKernels. */
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const pipelines = new WeakMap<GPUDevice, Map<string, LazyPipeline>>();

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

function descriptorOf(
  device: GPUDevice,
  { kernel, conditions = {}, constants = {} }: KernelVariant,
  { text }: LinkedKernel,
): GPUComputePipelineDescriptor {
  const module = device.createShaderModule({ label: kernel, code: text });
  return {
    label: `${kernel} ${JSON.stringify({ ...conditions, ...constants })}`,
    layout: "auto",
    compute: { module, entryPoint: "main", constants },
  };
}

function tellRefusal({ kernel, conditions = {} }: KernelVariant, message: string): void {
  reportGpuFailure(explainCompileError(kernel, conditions, message), "rejected", true);
}

/** A pipeline that is compiled when it is asked for, or ahead of that beside others. */
interface LazyPipeline extends KernelPipeline {
  isCompiled(): boolean;
  compileAhead(): Promise<void>;
}

function lazyPipeline(device: GPUDevice, variant: KernelVariant): LazyPipeline {
  const linked = linkKernel(variant.kernel, variant.conditions ?? {});
  checkConstants(linked, variant.constants ?? {});
  let compiled: { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout } | null = null;
  const keep = (pipeline: GPUComputePipeline) =>
    compiled ??= { pipeline, layout: pipeline.getBindGroupLayout(0) };
  /** What is refused within `body` is told by the next read-back. */
  const watched = <R>(body: () => R): R => {
    device.pushErrorScope("validation");
    const made = body();
    device.popErrorScope().then(
      (error) => error && tellRefusal(variant, error.message),
      () => {}, // of a device that is lost, which says so itself
    );
    return made;
  };
  const compile = () =>
    keep(watched(() => device.createComputePipeline(descriptorOf(device, variant, linked))));
  return {
    ...linked,
    name: variantName(variant),
    variant,
    get pipeline() {
      return (compiled ?? compile()).pipeline;
    },
    get layout() {
      return (compiled ?? compile()).layout;
    },
    isCompiled: () => compiled !== null,
    async compileAhead() {
      const descriptor = watched(() => descriptorOf(device, variant, linked));
      try {
        keep(await device.createComputePipelineAsync(descriptor));
      } catch (error) {
        tellRefusal(variant, (error as GPUPipelineError).message);
      }
    },
  };
}

/**
 * Pipeline of a kernel (entry point `main`), and its interface. Constants and conditions select code and tile sizes;
 * shapes travel in the uniform, so few pipelines are ever compiled. What a compiler refuses, the next read-back tells.
 * @throws Error when there is no such kernel, condition or constant
 */
export function kernelPipeline(device: GPUDevice, variant: KernelVariant): KernelPipeline {
  return pipelineOf(device, variant);
}

function pipelineOf(device: GPUDevice, variant: KernelVariant): LazyPipeline {
  let byKey = pipelines.get(device);
  if (!byKey) pipelines.set(device, byKey = new Map());
  const { kernel, conditions = {}, constants = {} } = variant;
  const key = JSON.stringify([kernel, conditions, constants]);
  let found = byKey.get(key);
  if (!found) {
    // Of a call: its buffers are not to be held with it.
    byKey.set(key, found = lazyPipeline(device, { kernel, conditions, constants }));
  }
  return found;
}

/** The kernels that the device, which may be one of a rehearsal, has been asked for, compiled or not. */
export function kernelsAsked(): KernelVariant[] {
  return [...pipelines.get(tfjsBackend().device)?.values() ?? []].map(({ variant }) => variant);
}

/** Compiles those of the kernels that are not yet, side by side: as many at a time as the driver takes. */
export async function compileKernels(variants: readonly KernelVariant[]): Promise<void> {
  const { device } = tfjsBackend();
  const missing = new Set(variants.map((variant) => pipelineOf(device, variant)));
  await Promise.all([...missing].map((each) => each.isCompiled() ? null : each.compileAhead()));
}
