/** Compute pipelines from the pure .wgsl files of kernels/, compiled once per device and set of constants. */
import { readdirSync, readFileSync } from "node:fs";

export type KernelConstants = Readonly<Record<string, number>>;

const KERNEL_FOLDER = new URL("../../kernels/", import.meta.url);
const modules = new WeakMap<GPUDevice, Map<string, GPUShaderModule>>();
const pipelines = new WeakMap<GPUDevice, Map<string, GPUComputePipeline>>();

function cached<V>(
  store: WeakMap<GPUDevice, Map<string, V>>,
  device: GPUDevice,
  key: string,
  make: () => V,
): V {
  let byKey = store.get(device);
  if (!byKey) store.set(device, byKey = new Map());
  let found = byKey.get(key);
  if (found === undefined) byKey.set(key, found = make());
  return found;
}

/** Path below kernels/ of each kernel, by name: the folders are families, and names are unique over all of them. */
const paths = new Map(
  readdirSync(KERNEL_FOLDER, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".wgsl"))
    .map((path) => [path.replace(/^.*[\\/]|\.wgsl$/g, ""), path]),
);

/** Source text of kernels/{family}/{name}.wgsl. @throws Error when there is no such file. */
export function kernelSource(name: string): string {
  const path = paths.get(name);
  if (path === undefined) throw new Error(`Cannot find kernel "${name}": no such file below kernels/`);
  return readFileSync(new URL(path, KERNEL_FOLDER), "utf8");
}

/**
 * Pipeline of kernels/{name}.wgsl (entry point `main`) with the given `override` constants.
 * Constants select code and tile sizes; shapes travel in the uniform, so few pipelines are ever compiled.
 */
export function kernelPipeline(
  device: GPUDevice,
  name: string,
  constants: KernelConstants = {},
): GPUComputePipeline {
  const key = `${name}|${JSON.stringify(constants)}`;
  return cached(pipelines, device, key, () => {
    const module = cached(
      modules,
      device,
      name,
      () => device.createShaderModule({ label: name, code: kernelSource(name) }),
    );
    return device.createComputePipeline({
      label: key,
      layout: "auto",
      compute: { module, entryPoint: "main", constants },
    });
  });
}
