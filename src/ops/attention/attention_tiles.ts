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
/** Vectors of four columns: of the weights of a tile, and of OTHERS rows at the most. */
const WEIGHTS = OTHERS * ROWS / 4;
const MOST_ROOM = 1024;
/** Bytes of what else a kernel keeps of each row. */
const ROW_BYTES = 4;
/** Storage buffers of the kernel with most: attention_grad_kv_tile with a prefix. */
const BUFFERS = 14;
/** Vectors of a slab, the more the better. */
const SLABS = [8, 7, 6, 5, 4];
/** A window that is none: what kernels add to it stays below 2^32. */
const NO_WINDOW = 2 ** 30;

/** Constants of lib/attention_slabs.wgsl. */
export type TileConstants = Record<"VECTORS" | "SLAB" | "PART" | "ROOM", number>;

/** What a device must offer. */
type TileLimits = Pick<
  GPUSupportedLimits,
  "maxComputeInvocationsPerWorkgroup" | "maxComputeWorkgroupStorageSize" | "maxStorageBuffersPerShaderStage"
>;

/** Constants for a head's width; undefined where tiles do not fit it or the device. */
export function tileConstants(headDim: number, limits: TileLimits): TileConstants | undefined {
  const VECTORS = headDim / 4;
  const SLAB = SLABS.find((count) => VECTORS % count === 0);
  if (SLAB === undefined) return undefined;
  const PART = OTHERS * VECTORS <= MOST_ROOM ? OTHERS : OTHERS / 2;
  const ROOM = Math.max((ROWS + OTHERS) * (SLAB | 1), PART * VECTORS);
  const fits = LANES <= limits.maxComputeInvocationsPerWorkgroup &&
    16 * (ROOM + WEIGHTS) + ROW_BYTES * ROWS <= limits.maxComputeWorkgroupStorageSize &&
    BUFFERS <= limits.maxStorageBuffersPerShaderStage;
  return fits ? { VECTORS, SLAB, PART, ROOM } : undefined;
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
      slab: constants.SLAB,
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
