/**
 * Attention over packed sequences in tiles of 64 rows in workgroup memory: for GPUs. The same bits as by the plain
 * kernels, with a prefix in the same launch and a window as a number.
 */
import type { TensorInfo } from "@tensorflow/tfjs";
import { compilesSlowly, deviceLimits, suitsTiles } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { type AttentionShape, powerScale } from "./attention_shape.ts";

/** As in lib/attention_slabs.wgsl. */
const ROWS = 64;
const OTHERS = 32;
const LANES = 256;
const SLAB = 8;
/** Vectors of a lane's rows lie so many apart. */
const COLUMNS = 16;
/** Bytes of workgroup memory beside the others that are staged whole: lines, weights, and a word of each row. */
const FIXED_BYTES = 16 * ((ROWS + OTHERS) * (SLAB + 1) + OTHERS * ROWS / 4) + 4 * ROWS;
/** Vectors that the lanes stage of the others at the most, four each. */
const MOST_STAGED = 4 * LANES;
/** More would keep a second workgroup from a processor. */
const MOST_BYTES = 48 * 1024;
/** Storage buffers of the kernel with most: attention_grad_kv_tile with a prefix. */
const BUFFERS = 14;
/** A window that is none: what kernels add to it stays below 2^32. */
const NO_WINDOW = 2 ** 30;

/** Constants of lib/attention_slabs.wgsl. */
export type TileConstants = Record<"VECTORS" | "PART" | "BLOCKS", number>;

/** What a device must offer. */
type TileLimits = Pick<
  GPUSupportedLimits,
  "maxComputeInvocationsPerWorkgroup" | "maxComputeWorkgroupStorageSize" | "maxStorageBuffersPerShaderStage"
>;

/** Constants for a head's width: as many others at once as there is room for; undefined where there is for none. */
export function tileConstants(headDim: number, limits: TileLimits): TileConstants | undefined {
  if (LANES > limits.maxComputeInvocationsPerWorkgroup) return undefined;
  if (BUFFERS > limits.maxStorageBuffersPerShaderStage) return undefined;
  const VECTORS = headDim / 4;
  const room = Math.min(MOST_BYTES, limits.maxComputeWorkgroupStorageSize) - FIXED_BYTES;
  const blocksOf = (part: number) => part / 4 * Math.ceil(VECTORS / COLUMNS);
  const PART = [32, 16, 8, 4].find((part) =>
    part * VECTORS <= MOST_STAGED && 16 * 4 * COLUMNS * blocksOf(part) <= room
  );
  return PART === undefined ? undefined : { VECTORS, PART, BLOCKS: blocksOf(PART) };
}

/** Constants of the tiles where they are to run on the open device. */
export function chosenTiles({ headDim }: AttentionShape): TileConstants | undefined {
  return suitsTiles() ? tileConstants(headDim, deviceLimits()) : undefined;
}

/** Tensors of a kernel by the names in its text; those of a prefix where there is one. */
type Bindings = Record<string, TensorInfo>;

interface TilePass {
  constants: TileConstants;
  shape: AttentionShape;
  rows: number;
  /** Rows of the prefix; null: there is none. */
  prefixRows: number | null;
}

function runTiles(kernel: string, bindings: Bindings, pass: TilePass, groups: number): void {
  const { constants, shape, rows, prefixRows } = pass;
  const { heads, kvHeads, scale, softcap, window = NO_WINDOW } = shape;
  runKernel({
    kernel,
    constants: { ...constants, UNROLLED: +!compilesSlowly() },
    conditions: { PREFIX: prefixRows !== null, SOFTCAP: softcap !== undefined },
    bindings,
    params: {
      rows,
      heads,
      kv_heads: kvHeads,
      window: Math.min(window, NO_WINDOW),
      slab: SLAB,
      scale: kernel === "attention_tile" ? powerScale(shape) : scale,
      ...(prefixRows === null ? {} : { prefix_rows: prefixRows }),
      ...(softcap === undefined ? {} : { softcap }),
    },
    workgroups: foldGrid(groups),
  });
}

const tilesOf = (rows: number) => Math.ceil(rows / ROWS);

/** bindings: q, k, v, bounds, o, softmax; with a prefix ranges, prefix_k, prefix_v. */
export function runAttentionTiles(bindings: Bindings, pass: TilePass): void {
  runTiles("attention_tile", bindings, pass, tilesOf(pass.rows) * pass.shape.heads);
}

/** bindings: q, k, v, bounds, stats, d_o, dq; with a prefix ranges, prefix_k, prefix_v. */
export function runAttentionGradQTiles(bindings: Bindings, pass: TilePass): void {
  runTiles("attention_grad_q_tile", bindings, pass, tilesOf(pass.rows) * pass.shape.heads);
}

/**
 * bindings: q, k, v, bounds, stats, d_o, dk, dv; for the gradients of a prefix also ranges, readers, prefix_k,
 * prefix_v, prefix_dk, prefix_dv.
 */
export function runAttentionGradKvTiles(bindings: Bindings, pass: TilePass): void {
  const groups = (tilesOf(pass.prefixRows ?? 0) + tilesOf(pass.rows)) * pass.shape.kvHeads;
  runTiles("attention_grad_kv_tile", bindings, pass, groups);
}
