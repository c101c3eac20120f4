/** What the settings of precision come to on a device: `auto` is fast on a GPU, and exact on a CPU that plays one. */
import type { RunConfig } from "../config/sweep.ts";
import { isSoftwareDevice } from "../gpu/device_facts.ts";
import { type MatmulPrecision, matrixUnitsMissing } from "../gpu/precision.ts";
import type { KvCacheDtype } from "./decode/kv_blocks.ts";

/** What of a device decides. */
export interface PrecisionFacts {
  isSoftware: boolean;
  /** Whether it multiplies matrices of f16 (gpu/precision.ts). */
  hasMatrices: boolean;
}

type PrecisionKey = "kv_cache_dtype" | "matmul_precision" | "importance_sampling_correction";
type PrecisionConfig = Pick<RunConfig, PrecisionKey>;

export interface Precision {
  kv_cache_dtype: KvCacheDtype;
  matmul_precision: MatmulPrecision;
  importance_sampling_correction: boolean;
}

/** Of the device that is open. */
function openDevice(): PrecisionFacts {
  return { isSoftware: isSoftwareDevice(), hasMatrices: matrixUnitsMissing() === undefined };
}

export function kvCacheDtypeOf(
  { kv_cache_dtype }: Pick<RunConfig, "kv_cache_dtype">,
  device: () => PrecisionFacts = openDevice,
): KvCacheDtype {
  if (kv_cache_dtype !== "auto") return kv_cache_dtype;
  return device().isSoftware ? "float32" : "float16";
}

export function matmulPrecisionOf(
  { matmul_precision }: Pick<RunConfig, "matmul_precision">,
  device: () => PrecisionFacts = openDevice,
): MatmulPrecision {
  if (matmul_precision !== "auto") return matmul_precision;
  const { isSoftware, hasMatrices } = device();
  return hasMatrices && !isSoftware ? "float16" : "float32";
}

/** Whether sampling rounds what training does not, so that log-probs may differ; else they are the same bits. */
export function samplerMayDiffer(
  config: Pick<RunConfig, "kv_cache_dtype" | "matmul_precision">,
  device: () => PrecisionFacts = openDevice,
): boolean {
  return kvCacheDtypeOf(config, device) !== "float32" || matmulPrecisionOf(config, device) !== "float32";
}

/** Whether the loss is corrected for a sampler that differs. */
export function correctsSampler(
  config: PrecisionConfig,
  device: () => PrecisionFacts = openDevice,
): boolean {
  const { importance_sampling_correction: corrects } = config;
  return corrects === "auto" ? samplerMayDiffer(config, device) : corrects;
}

/** The settings with what `auto` stands for in its place. @param device the open one unless given */
export function settledPrecision<C extends PrecisionConfig>(
  config: C,
  device: () => PrecisionFacts = openDevice,
): C & Precision {
  return {
    ...config,
    kv_cache_dtype: kvCacheDtypeOf(config, device),
    matmul_precision: matmulPrecisionOf(config, device),
    importance_sampling_correction: correctsSampler(config, device),
  };
}

/** Settings that leave all of it to the device. */
export const AUTO_PRECISION: PrecisionConfig = {
  kv_cache_dtype: "auto",
  matmul_precision: "auto",
  importance_sampling_correction: "auto",
};

/** The precisions of settings in words: "matmul_precision float16, kv_cache_dtype float16". */
export function precisionText({ matmul_precision, kv_cache_dtype }: PrecisionConfig): string {
  return `matmul_precision ${matmul_precision}, kv_cache_dtype ${kv_cache_dtype}`;
}
