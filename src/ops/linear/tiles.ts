/**
 * Tiles of the kernels that share slabs of both operands in workgroup memory (kernels/lib/linear_slabs.wgsl): which a
 * device runs, and which is guessed to be fast where none was measured.
 */

/** The `override` constants of a tile. */
export type TileConstants = Readonly<
  Record<"TILE_M" | "TILE_N" | "TILE_K" | "LANE_M" | "LANE_N", number>
>;

/** Names a way to compute: "registers", or rows x columns x depth of a tile and what a lane makes of it. */
export type LinearVariant = string;

/** Tiles in registers alone. */
export const REGISTERS: LinearVariant = "registers";

/** The larger tiles of matrix units, whatever the sizes: to test them. Not measured: sizes decide. */
export const WIDE_UNITS: LinearVariant = "wide tiles of matrix units";

/** From the one with the fewest loads per product to the one that spreads few rows over the most workgroups. */
export const TILES: Readonly<Record<LinearVariant, TileConstants>> = {
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
/**
 * What is guessed among, largest first; the rest differ too little to be told apart without measuring. Of the large,
 * the one that makes twice the workgroups and waits half as often for a slab: by the cost model (bench/predict) it is
 * the fastest from 512 rows on, 403 us against 661 of "128x128x8 by 8x8" at 512 x 4096 x 4096 on an H100.
 */
const GUESSED = ["128x64x16 by 8x8", "64x64x16 by 8x4", "32x32x32 by 4x4", "16x32x32 by 4x4"];

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
export function linearCandidates(limits: TileLimits, isSoftware: boolean): LinearVariant[] {
  if (isSoftware) return [REGISTERS];
  return [REGISTERS, ...Object.keys(TILES).filter((name) => tileFits(TILES[name], limits))];
}

/** Variants that are worth measuring for [rows, columns] sums: the guess, and the next larger and smaller tile. */
export function likelyVariants(
  size: { rows: number; columns: number },
  candidates: readonly LinearVariant[],
): LinearVariant[] {
  const tiles = Object.keys(TILES).filter((name) => candidates.includes(name));
  const at = tiles.indexOf(guessedVariant(size, candidates));
  if (at < 0 || candidates.length <= 3) return [...candidates];
  return tiles.slice(Math.max(0, at - 1), at + 2);
}

/**
 * For [rows, columns] sums, the largest guessed candidate that is half full and makes enough workgroups, or else the
 * smallest.
 */
export function guessedVariant(
  { rows, columns }: { rows: number; columns: number },
  candidates: readonly LinearVariant[],
): LinearVariant {
  const guessed = GUESSED.filter((name) => candidates.includes(name));
  const workgroups = (name: LinearVariant) =>
    Math.ceil(rows / TILES[name].TILE_M) * Math.ceil(columns / TILES[name].TILE_N);
  const suits = (name: LinearVariant) =>
    TILES[name].TILE_M <= 2 * rows && workgroups(name) >= ENOUGH_WORKGROUPS;
  return guessed.find(suits) ?? guessed.at(-1) ?? REGISTERS;
}
