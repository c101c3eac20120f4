/** What the device is and offers: adapter, features, limits, matrix units. */
import { openGpu } from "../../src/gpu/device.ts";
import { matrixUnitsMissing } from "../../src/gpu/precision.ts";
import type { PartContext } from "./report_line.ts";

/** Says every fact that decides which kernels run. */
export async function reportDevice({ say }: PartContext): Promise<void> {
  const { device, info } = await openGpu();
  const fact = (name: string, value: unknown) => say({ kind: "fact", name, value: String(value) });
  fact("device", `${info.name} (${info.vendor} ${info.architecture})`);
  fact("driver", info.driver);
  fact("runtime", `${info.runtime} ${info.runtimeVersion}`);
  fact("features", info.features.filter((name) => !name.startsWith("texture")).join(", "));
  for (const [name, value] of Object.entries(info.limits)) fact(name, value);
  fact("maxStorageBuffersPerShaderStage", device.limits.maxStorageBuffersPerShaderStage);
  const { subgroupMinSize, subgroupMaxSize } = device.adapterInfo;
  fact("lanes of a subgroup", `${subgroupMinSize} to ${subgroupMaxSize}`);
  fact("matrix units", info.subgroupMatrixConfigs.join(", ") || "none");
  fact("matmul_precision float16", matrixUnitsMissing() ?? "runs here");
}
