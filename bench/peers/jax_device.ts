/** Makes jax-js run on this program's device: it asks navigator.gpu for one, so it is given ours. */
import { defaultDevice, init } from "@jax-js/jax";

/** @param device shared with tfjs and our kernels: one queue, one memory, one set of errors */
export async function initJax(device: GPUDevice): Promise<void> {
  const adapter = {
    limits: device.limits,
    features: device.features,
    info: device.adapterInfo,
    requestDevice: () => Promise.resolve(device),
  };
  const { navigator } = globalThis;
  // jax-js reads the browser's name when its backend is imported.
  if (navigator.userAgent === undefined) Object.defineProperty(navigator, "userAgent", { value: "" });
  const own = navigator.gpu;
  const replace = (gpu: unknown) =>
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  replace({ requestAdapter: () => Promise.resolve(adapter) });
  try {
    await init("webgpu");
  } finally {
    replace(own);
  }
  defaultDevice("webgpu");
}
