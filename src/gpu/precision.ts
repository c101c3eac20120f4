/** How exactly linear layers multiply: in f32, or on the matrix units of a GPU (tensor cores) with inputs in f16. */
import { modes, tfjsBackend } from "./backend.ts";
import { adapterInfo, hasSubgroups } from "./device_facts.ts";

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
  limits: Pick<GPUSupportedLimits, "maxComputeInvocationsPerWorkgroup">;
  adapterInfo: {
    readonly subgroupMinSize: number;
    readonly subgroupMaxSize: number;
    readonly subgroupMatrixConfigs?: Iterable<MatrixShape>;
  };
}

/** Whether a device multiplies 16x16x16 matrices of f16 into f32. */
export function offersF16Matrices(
  { subgroupMatrixConfigs = [] }: Partial<MatrixFacts["adapterInfo"]>,
): boolean {
  const fits = ({ componentType, resultComponentType, M, N, K }: MatrixShape) =>
    componentType === "f16" && resultComponentType === "f32" && M === 16 && N === 16 && K === 16;
  return [...subgroupMatrixConfigs].some(fits);
}

function openDevice(): MatrixFacts {
  const { features, limits } = tfjsBackend().device;
  const has = (name: string) => (!/subgroup/.test(name) || hasSubgroups()) && features.has(name);
  return { features: { has }, limits, adapterInfo: adapterInfo() };
}

/** Why a device cannot multiply 16x16x16 matrices of f16 into f32, as our kernels do; undefined when it can. */
export function matrixUnitsMissing(
  { features, limits, adapterInfo }: MatrixFacts = openDevice(),
): string | undefined {
  const needed = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
  const missing = needed.filter((name) => !features.has(name));
  if (missing.length > 0) return `it lacks ${missing.join(", ")}`;
  const { subgroupMinSize, subgroupMaxSize } = adapterInfo;
  if (!offersF16Matrices(adapterInfo)) return "it offers no f16 matrices of 16x16x16 that sum in f32";
  // The kernel gives each subgroup its part, so it must know how many there are.
  if (subgroupMinSize !== subgroupMaxSize) {
    return `its subgroups have ${subgroupMinSize} to ${subgroupMaxSize} lanes, not one size`;
  }
  const lanes = limits.maxComputeInvocationsPerWorkgroup;
  return lanes < 4 * subgroupMaxSize
    ? `its workgroups have ${lanes} lanes, fewer than four subgroups of ${subgroupMaxSize}`
    : undefined;
}

/**
 * Sets how linear layers multiply from now on for their outputs and the gradients of their inputs; gradients of weights
 * are always f32. "float32", the default, gives the same bits on every device; "float16" is faster and rounds what is
 * multiplied to 11 significant bits.
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
