/** What the choice among the kernels of a linear layer depends on: facts about the device and its measurements. */
import {
  deviceFact,
  deviceLimits,
  hasNarrowSubgroups,
  hasSimd8,
  isSoftwareDevice,
  maxSubgroupSize,
  plainKernelsOnly,
} from "../../gpu/device_facts.ts";
import { type MatrixUnit, matrixUnit } from "../../gpu/precision.ts";
import { linearCandidates, type LinearVariant } from "./tiles.ts";

/** What the choice depends on beside the request. */
export interface LinearFacts {
  /** Whether kernels for subgroups of exactly 8 lanes run. */
  readonly hasSimd8: boolean;
  readonly hasNarrowSubgroups: boolean;
  readonly maxSubgroupSize: number;
  /** Width of the matrices that its matrix units multiply. */
  readonly matrixUnit: MatrixUnit;
  /** Of memory that a workgroup may have. */
  readonly workgroupBytes: number;
  /** Whether only plain kernels are to run. */
  readonly plainKernelsOnly: boolean;
  /** What the device runs, registers first. */
  readonly candidates: readonly LinearVariant[];
  /** What was measured to be the fastest, by class. */
  readonly measured: ReadonlyMap<string, LinearVariant>;
  /** The one variant that is to run, of those that tile. */
  readonly forced: LinearVariant | null;
}

/** Variants by class. */
export type LinearTuning = Record<string, LinearVariant>;

const measured = new Map<string, LinearVariant>();
let forced: LinearVariant | null = null;

/** Variants of the device that is open. */
export const deviceCandidates = deviceFact(() => linearCandidates(deviceLimits(), isSoftwareDevice()));

/** The facts as they are: of the device that is open, looked up when they are asked for. */
export const openFacts: LinearFacts = {
  get hasSimd8() {
    return hasSimd8();
  },
  get hasNarrowSubgroups() {
    return hasNarrowSubgroups();
  },
  get maxSubgroupSize() {
    return maxSubgroupSize();
  },
  get matrixUnit() {
    return matrixUnit();
  },
  get workgroupBytes() {
    return deviceLimits().maxComputeWorkgroupStorageSize;
  },
  get plainKernelsOnly() {
    return plainKernelsOnly();
  },
  get candidates() {
    return deviceCandidates();
  },
  measured,
  get forced() {
    return forced;
  },
};

/** From now on products of these classes are computed so. Variants that this device does not run are passed over. */
export function useLinearTuning(tuning: LinearTuning): void {
  const candidates = deviceCandidates();
  for (const [name, variant] of Object.entries(tuning)) {
    if (candidates.includes(variant)) measured.set(name, variant);
  }
}

/** Runs `body` with all products computed by one variant: to time it, and to test it. */
export function withLinearVariant<R>(variant: LinearVariant, body: () => R): R {
  const before = forced;
  forced = variant;
  try {
    return body();
  } finally {
    forced = before;
  }
}
