/** How exactly linear layers multiply: in f32, or on the matrix units of a GPU (tensor cores) with inputs in f16. */
import { modes, tfjsBackend } from "./backend.ts";
import { adapterInfo, deviceFact, hasSubgroups } from "./device_facts.ts";

export type MatmulPrecision = typeof modes.matmulPrecision;

interface MatrixShape {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

/** The parts of a device that say whether it multiplies matrices of f16. */
export interface MatrixFacts {
  features: Pick<ReadonlySet<string>, "has">;
  limits: Pick<GPUSupportedLimits, "maxComputeInvocationsPerWorkgroup" | "maxComputeWorkgroupStorageSize">;
  adapterInfo: {
    readonly subgroupMinSize: number;
    readonly subgroupMaxSize: number;
    readonly subgroupMatrixConfigs?: Iterable<MatrixShape>;
  };
}

/** Rows, columns and depth of the matrices that our kernels multiply: what GPUs offer, or what software Vulkan does. */
export type MatrixUnit = 16 | 8;
const UNITS: readonly MatrixUnit[] = [16, 8];

/** The size of the matrices of f16 that a device multiplies into f32, the largest that we know; undefined: of none. */
export function f16MatrixUnit(
  { subgroupMatrixConfigs = [] }: Partial<MatrixFacts["adapterInfo"]>,
): MatrixUnit | undefined {
  const sums = [...subgroupMatrixConfigs].filter(({ componentType, resultComponentType }) =>
    componentType === "f16" && resultComponentType === "f32"
  );
  return UNITS.find((unit) => sums.some(({ M, N, K }) => M === unit && N === unit && K === unit));
}

const unitOfDevice = deviceFact((): MatrixUnit => f16MatrixUnit(openDevice().adapterInfo) ?? 16);

/** Of the device that is open; 16 where it has none, whose kernels are made and not run. */
export const matrixUnit = (): MatrixUnit => modes.matrixUnit ?? unitOfDevice();

/** Lanes of a subgroup that our kernels' tiles are made for, at the most. */
const MOST_LANES = 64;
/** Of workgroup memory that the smallest tiles take, for each row of a matrix. */
const LEAST_BYTES = 1280;

function openDevice(): MatrixFacts {
  const { features, limits } = tfjsBackend().device;
  const has = (name: string) => (!/subgroup/.test(name) || hasSubgroups()) && features.has(name);
  return { features: { has }, limits, adapterInfo: adapterInfo() };
}

/** Why a device cannot multiply matrices of f16 into f32 as our kernels do; undefined when it can. */
export function matrixUnitsMissing(
  { features, limits, adapterInfo }: MatrixFacts = openDevice(),
): string | undefined {
  const needed = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
  const missing = needed.filter((name) => !features.has(name));
  if (missing.length > 0) return `it lacks ${missing.join(", ")}`;
  const { subgroupMinSize, subgroupMaxSize } = adapterInfo;
  const unit = f16MatrixUnit(adapterInfo);
  if (!unit) {
    return "it offers no f16 matrices of 16x16x16 or 8x8x8 that sum in f32";
  }
  // The kernel gives each subgroup its part, so it must know how many there are.
  if (subgroupMinSize !== subgroupMaxSize) {
    return `its subgroups have ${subgroupMinSize} to ${subgroupMaxSize} lanes, not one size`;
  }
  if (subgroupMaxSize > MOST_LANES) {
    return `its subgroups have ${subgroupMaxSize} lanes, more than ${MOST_LANES}`;
  }
  const lanes = limits.maxComputeInvocationsPerWorkgroup;
  if (lanes < 4 * subgroupMaxSize) {
    return `its workgroups have ${lanes} lanes, fewer than four subgroups of ${subgroupMaxSize}`;
  }
  const bytes = limits.maxComputeWorkgroupStorageSize;
  return bytes < LEAST_BYTES * unit
    ? `its workgroups have ${bytes} bytes of memory, fewer than ${LEAST_BYTES * unit}`
    : undefined;
}

/**
 * Sets how linear layers multiply from now on. "float32", the default, gives the same bits however rows are split over
 * passes; "float16" is faster and rounds what is multiplied to 11 significant bits.
 * @throws Error when the device cannot
 */
export function setMatmulPrecision(precision: MatmulPrecision): void {
  const missing = precision === "float16" ? matrixUnitsMissing() : undefined;
  if (missing !== undefined) {
    throw new Error(
      `Cannot multiply matrices in float16 on this device: ${missing}. Need matrix units (tensor cores) under Node; ` +
        "leave the precision at float32",
    );
  }
  modes.matmulPrecision = precision;
}

export function matmulPrecision(): MatmulPrecision {
  return modes.matmulPrecision;
}
