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
const LANES = 256;
const ROWS_AND_OTHERS = 96;
const SLAB = 8;
/** Rows of a tile: as many as leave a lane registers for its sums. */
const ROWS = { attention_tile: 64, attention_grad_q_tile: 64, attention_grad_kv_tile: 32 };
/** Bytes of workgroup memory beside the others that are staged whole: lines, weights, a word of each row. */
const FIXED_BYTES = 16 * (ROWS_AND_OTHERS * (SLAB + 1) + 512) + 4 * 64;
/** Vectors that the lanes stage of the others at the most, four each. */
const MOST_STAGED = 4 * LANES;
/** What a processor of a GPU has room for several times. */
const MOST_BYTES = 48 * 1024;
/** Storage buffers of the kernel with most: attention_grad_kv_tile with a prefix. */
const BUFFERS = 14;
/** A window that is none: what kernels add to it stays below 2^32. */
const NO_WINDOW = 2 ** 30;

type TileKernel = keyof typeof ROWS;

/** Constants of lib/attention_slabs.wgsl. */
export type TileConstants = Record<"VECTORS" | "ROWS" | "PART" | "BLOCKS", number>;

/** What a device must offer. */
type TileLimits = Pick<
  GPUSupportedLimits,
  "maxComputeInvocationsPerWorkgroup" | "maxComputeWorkgroupStorageSize" | "maxStorageBuffersPerShaderStage"
>;

/** Constants of a kernel for a head's width: as many others at once as there is room for; undefined: for none. */
export function tileConstants(
  kernel: TileKernel,
  headDim: number,
  limits: TileLimits,
): TileConstants | undefined {
  if (LANES > limits.maxComputeInvocationsPerWorkgroup) return undefined;
  if (BUFFERS > limits.maxStorageBuffersPerShaderStage) return undefined;
  const VECTORS = headDim / 4;
  const columns = 16 * 64 / ROWS[kernel];
  const room = Math.min(MOST_BYTES, limits.maxComputeWorkgroupStorageSize) - FIXED_BYTES;
  const blocksOf = (part: number) => part / 4 * Math.ceil(VECTORS / columns) * columns / 16;
  const PART = [32, 16, 8, 4].find((part) =>
    part * VECTORS <= MOST_STAGED && 16 * 64 * blocksOf(part) <= room
  );
  return PART === undefined ? undefined : { VECTORS, ROWS: ROWS[kernel], PART, BLOCKS: blocksOf(PART) };
}

/** Whether attention runs in tiles on the open device. */
export function runsInTiles({ headDim }: AttentionShape): boolean {
  const kernels = Object.keys(ROWS) as TileKernel[];
  return suitsTiles() && kernels.every((kernel) => tileConstants(kernel, headDim, deviceLimits()));
}

/** Tensors of a kernel by the names in its text; those of a prefix where there is one. */
type Bindings = Record<string, TensorInfo>;

interface TilePass {
  shape: AttentionShape;
  rows: number;
  /** Rows of the prefix; null: there is none. */
  prefixRows: number | null;
}

function runTiles(kernel: TileKernel, bindings: Bindings, pass: TilePass, groups: number): void {
  const { shape, rows, prefixRows } = pass;
  const { heads, kvHeads, headDim, scale, softcap, window = NO_WINDOW } = shape;
  runKernel({
    kernel,
    constants: { ...tileConstants(kernel, headDim, deviceLimits()), UNROLLED: +!compilesSlowly() },
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

const tilesOf = (kernel: TileKernel, rows: number) => Math.ceil(rows / ROWS[kernel]);

/** bindings: q, k, v, bounds, o, softmax; with a prefix ranges, prefix_k, prefix_v. */
export function runAttentionTiles(bindings: Bindings, pass: TilePass): void {
  const kernel = "attention_tile";
  runTiles(kernel, bindings, pass, tilesOf(kernel, pass.rows) * pass.shape.heads);
}

/** bindings: q, k, v, bounds, stats, d_o, dq; with a prefix ranges, prefix_k, prefix_v. */
export function runAttentionGradQTiles(bindings: Bindings, pass: TilePass): void {
  const kernel = "attention_grad_q_tile";
  runTiles(kernel, bindings, pass, tilesOf(kernel, pass.rows) * pass.shape.heads);
}

/**
 * bindings: q, k, v, bounds, stats, d_o, dk, dv; for the gradients of a prefix also ranges, readers, prefix_k,
 * prefix_v, prefix_dk, prefix_dv.
 */
export function runAttentionGradKvTiles(bindings: Bindings, pass: TilePass): void {
  const kernel = "attention_grad_kv_tile";
  const tiles = tilesOf(kernel, pass.prefixRows ?? 0) + tilesOf(kernel, pass.rows);
  runTiles(kernel, bindings, pass, tiles * pass.shape.kvHeads);
}
