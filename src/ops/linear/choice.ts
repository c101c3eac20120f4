/**
 * Which kernel computes a matrix product: one that tiles in registers alone, or one that shares slabs in workgroup memory,
 * and with which tile. All of them give the same bits, so the choice is one of speed: what was measured on this device
 * (ops/linear/tuning.ts), else a guess from the sizes. CPUs have no fast workgroup memory: there, registers alone.
 */
import { deviceFact, deviceLimits, isSoftwareDevice, plainKernelsOnly } from "../../gpu/device_facts.ts";
import type { WeightFormat } from "../weight/weight.ts";

/** One product: [rows, columns], each element the sum over `summed` terms. */
export interface MatmulSize {
  /** The kernel that tiles in registers, such as linear; the others are its variants. */
  kernel: string;
  /** Of the weight that the kernel unpacks. */
  format: WeightFormat;
  rows: number;
  columns: number;
  summed: number;
}

/** The `override` constants of a kernel that shares slabs; see kernels/linear/linear_tile.wgsl. */
export type TileConstants = Readonly<
  Record<"TILE_M" | "TILE_N" | "TILE_K" | "LANE_M" | "LANE_N", number>
>;

/** Names a variant: "registers", or rows x columns x depth of a tile and what a lane makes of it. */
export type MatmulVariant = string;

export const REGISTERS: MatmulVariant = "registers";

/** From the one with the fewest loads per product to the one that spreads few rows over the most workgroups. */
export const TILES: Readonly<Record<MatmulVariant, TileConstants>> = {
  "128x128x16 by 8x8": { TILE_M: 128, TILE_N: 128, TILE_K: 16, LANE_M: 8, LANE_N: 8 },
  "128x128x8 by 8x8": { TILE_M: 128, TILE_N: 128, TILE_K: 8, LANE_M: 8, LANE_N: 8 },
  "128x64x16 by 8x8": { TILE_M: 128, TILE_N: 64, TILE_K: 16, LANE_M: 8, LANE_N: 8 },
  "64x64x16 by 8x4": { TILE_M: 64, TILE_N: 64, TILE_K: 16, LANE_M: 8, LANE_N: 4 },
  "64x64x16 by 4x4": { TILE_M: 64, TILE_N: 64, TILE_K: 16, LANE_M: 4, LANE_N: 4 },
  "32x64x16 by 4x4": { TILE_M: 32, TILE_N: 64, TILE_K: 16, LANE_M: 4, LANE_N: 4 },
  "32x32x32 by 4x4": { TILE_M: 32, TILE_N: 32, TILE_K: 32, LANE_M: 4, LANE_N: 4 },
  "16x32x32 by 4x4": { TILE_M: 16, TILE_N: 32, TILE_K: 32, LANE_M: 4, LANE_N: 4 },
};

/** Workgroups that keep a GPU of a hundred or so processors busy. */
const ENOUGH_WORKGROUPS = 128;
/** What is guessed among, largest first; the rest differ too little to be told apart without measuring. */
const GUESSED = ["128x128x8 by 8x8", "64x64x16 by 8x4", "32x32x32 by 4x4", "16x32x32 by 4x4"];

/** What a device must offer for a tile. */
type TileLimits = Pick<
  GPUSupportedLimits,
  "maxComputeInvocationsPerWorkgroup" | "maxComputeWorkgroupStorageSize"
>;

/** Whether a device has the lanes and the workgroup memory (two slabs, a spare vec4 a line) for the tile. */
export function tileFits(
  { TILE_M, TILE_N, TILE_K, LANE_M, LANE_N }: TileConstants,
  limits: TileLimits,
): boolean {
  const lanes = (TILE_M / LANE_M) * (TILE_N / LANE_N);
  const bytes = 4 * TILE_K * (TILE_M + 4 + TILE_N + 4);
  return lanes <= limits.maxComputeInvocationsPerWorkgroup && bytes <= limits.maxComputeWorkgroupStorageSize;
}

/** Variants that a device runs, the first of which is the one without workgroup memory. */
export function matmulCandidates(limits: TileLimits, isSoftware: boolean): MatmulVariant[] {
  if (isSoftware) return [REGISTERS];
  return [REGISTERS, ...Object.keys(TILES).filter((name) => tileFits(TILES[name], limits))];
}

/** Those of the device that is open. */
export const deviceCandidates = deviceFact(() => matmulCandidates(deviceLimits(), isSoftwareDevice()));

/** The largest guessed candidate that is half full and makes enough workgroups, or else the smallest. */
export function guessedVariant({ rows, columns }: MatmulSize, candidates: MatmulVariant[]): MatmulVariant {
  const guessed = GUESSED.filter((name) => candidates.includes(name));
  const workgroups = (name: MatmulVariant) =>
    Math.ceil(rows / TILES[name].TILE_M) * Math.ceil(columns / TILES[name].TILE_N);
  const suits = (name: MatmulVariant) =>
    TILES[name].TILE_M <= 2 * rows && workgroups(name) >= ENOUGH_WORKGROUPS;
  return guessed.find(suits) ?? guessed.at(-1) ?? REGISTERS;
}

/** From here on a size fills any GPU, and no longer tells products apart. */
export const FULL_SIZE = 4096;

/** The largest size of a class. */
const bucket = (size: number) => Math.min(FULL_SIZE, 2 ** Math.ceil(Math.log2(size)));

/** Products of one class run alike: the same kernel and format, sizes between the same powers of two. */
export function matmulClass({ kernel, format, rows, columns, summed }: MatmulSize): string {
  return `${kernel} ${format} ${[rows, columns, summed].map(bucket).join(" x ")}`;
}

/** Variants by class. */
export type MatmulTuning = Record<string, MatmulVariant>;

const tuned = new Map<string, MatmulVariant>();

/** From now on products of these classes are computed so. Variants that this device does not run are passed over. */
export function useMatmulTuning(tuning: MatmulTuning): void {
  const candidates = deviceCandidates();
  for (const [matmul, variant] of Object.entries(tuning)) {
    if (candidates.includes(variant)) tuned.set(matmul, variant);
  }
}

let forced: MatmulVariant | null = null;

/** Runs `body` with all products computed by one variant: to time it, and to test it. */
export function withMatmulVariant<R>(variant: MatmulVariant, body: () => R): R {
  const before = forced;
  forced = variant;
  try {
    return body();
  } finally {
    forced = before;
  }
}

function variantOf(size: MatmulSize): MatmulVariant {
  if (plainKernelsOnly()) return REGISTERS;
  if (forced) return forced;
  const candidates = deviceCandidates();
  if (candidates.length === 1) return candidates[0];
  return tuned.get(matmulClass(size)) ?? guessedVariant(size, candidates);
}

/** The tile that a product is computed with in workgroup memory; null: in registers alone. */
export function matmulTile(size: MatmulSize): TileConstants | null {
  return TILES[variantOf(size)] ?? null;
}
