/**
 * Which kernel computes a product of a linear layer, with which constants and grid. `chooseLinear` decides for all of
 * them, from the sizes, what was asked for, and facts about the device (facts.ts). In float32 every kernel gives the
 * same bits, so the choice is one of speed; tiles in workgroup memory (tiles.ts) are what was measured on this
 * device, else a guess. `bench --explain` prints it.
 */
import { foldGrid } from "../../gpu/grids.ts";
import type { KernelConstants } from "../../gpu/kernel.ts";
import type { Conditions } from "../../gpu/wgsl.ts";
import type { MatmulPrecision } from "../../gpu/precision.ts";
import type { WeightFormat } from "../weight/weight.ts";
import { type LinearFacts, openFacts } from "./facts.ts";
import { FEW_MATRIX_KERNEL, fewMatrixSize, fewMatrixTile } from "./few_matrix_tiles.ts";
import { guessedVariant, type LinearVariant, REGISTERS, TILES, WIDE_UNITS } from "./tiles.ts";

/** "few": decoding, one token a row; picks a kernel that wastes less on a handful of rows. The bits are the same. */
export type RowCount = "few" | "many";

/** Sizes of a layer: x [M,K], its weight [N,K], its output [M,N]. */
export interface LayerSizes {
  M: number;
  K: number;
  N: number;
}

/** y, dx, dw, or silu(x gate^T) * (x up^T). */
export type LinearProduct = "output" | "grad_x" | "grad_w" | "swiglu";

/** One product: [rows, columns], each element the sum over `summed` terms. */
export interface LinearSize {
  product: LinearProduct;
  /** Of the weight. */
  format: WeightFormat;
  rows: number;
  columns: number;
  summed: number;
}

export interface LinearRequest extends LinearSize {
  /** Floats from one row of dy to the next, for the gradients; dense unless given. */
  stride?: number;
  /** "many" unless given. */
  rowCount?: RowCount;
  /** "float32" unless given. */
  precision?: MatmulPrecision;
  /** Of the second weight of `swiglu`; that of the first unless given. */
  upFormat?: WeightFormat;
}

/** Kernels by product and by the way they compute it. */
const KERNELS = {
  output: {
    strided: "linear_strided",
    matrix: "linear_matrix",
    few_matrix: FEW_MATRIX_KERNEL,
    few: "linear_few",
    tile: "linear_tile",
    simd8: "linear_simd8",
    registers: "linear",
  },
  grad_x: {
    strided: "linear_strided",
    matrix: "linear_matrix",
    tile: "linear_grad_x_tile",
    simd8: "linear_grad_x_simd8",
    registers: "linear_grad_x",
  },
  grad_w: {
    strided: "linear_strided",
    matrix: "linear_matrix",
    tile: "linear_grad_w_tile",
    simd8: "linear_grad_w_simd8",
    registers: "linear_grad_w",
  },
  swiglu: { simd8: "swiglu_linear_simd8", registers: "swiglu_linear" },
} as const;

/** Kernels that are chosen among by measuring. */
export const TUNED_KERNELS: readonly string[] = [KERNELS.output, KERNELS.grad_x, KERNELS.grad_w]
  .flatMap(({ registers, tile }) => [registers, tile]);

type LinearWay = keyof typeof KERNELS.output;

export interface LinearChoice {
  /** What the kernel computes: "output" where `swiglu` is better made of two outputs. */
  product: LinearProduct;
  way: LinearWay;
  kernel: string;
  /** Those that the choice sets. */
  conditions: Conditions;
  /** Those that the choice sets; formats are the caller's. */
  constants: KernelConstants;
  /** What a workgroup makes. */
  tile: { rows: number; columns: number };
  workgroups: [number, number, number];
  /** Why this kernel, in a sentence. */
  why: string;
}

/** Sizes of one product of a layer. */
export function productSize(
  product: LinearProduct,
  { M, K, N }: LayerSizes,
): Pick<LinearSize, "product" | "rows" | "columns" | "summed"> {
  if (product === "grad_x") return { product, rows: M, columns: K, summed: N };
  if (product === "grad_w") return { product, rows: N, columns: K, summed: M };
  return { product, rows: M, columns: N, summed: K };
}

/** Values of a weight in 16 bytes. */
export const valuesPerLoad = (format: WeightFormat): number => format === "f32" ? 4 : 8;

/** From so many rows on a product fills any GPU, and they no longer tell it from another. */
export const FULL_SIZE = 4096;
/** The same of a weight's outputs and inputs, whose last wave of workgroups counts for longer. */
export const FULL_WEIGHT = 16384;

/** Of a class, the most rows of x. */
const mostRowsOf = (rows: number) => Math.min(FULL_SIZE, 2 ** Math.ceil(Math.log2(rows)));

/** Products of one class run alike: kernel, format and the weight's sizes are the same, rows between powers of two. */
export function linearClass({ product, format, rows, columns, summed }: LinearSize): string {
  const kernel = KERNELS[product === "swiglu" ? "output" : product].registers;
  const isGradW = product === "grad_w";
  const ofWeight = (size: number) => Math.min(FULL_WEIGHT, size);
  const sizes = isGradW
    ? [ofWeight(rows), ofWeight(columns), mostRowsOf(summed)]
    : [mostRowsOf(rows), ofWeight(columns), ofWeight(summed)];
  return `${kernel} ${isGradW ? "f32" : format} ${sizes.join(" x ")}`;
}

/** One of the ways that tile, and why. */
function variantOf(size: LinearSize, facts: LinearFacts): { variant: LinearVariant; why: string } {
  if (facts.plainKernelsOnly) return { variant: REGISTERS, why: "only plain kernels are to run" };
  if (facts.forced) return { variant: facts.forced, why: "no other variant is to run" };
  if (facts.candidates.length === 1) {
    return {
      variant: facts.candidates[0],
      why: "this device has no fast workgroup memory for larger ones",
    };
  }
  const name = linearClass(size);
  const known = facts.measured.get(name);
  if (known) return { variant: known, why: `measured to be the fastest for "${name}"` };
  return {
    variant: guessedVariant(size, facts.candidates),
    why: `guessed from the sizes: "${name}" is not measured on this device`,
  };
}

/**
 * How many rows linear_few takes faster than a kernel that tiles, which computes rows past the last as well. None where
 * there is workgroup memory for tiles: its lanes wait for each load of their own rows of the weight, and a GPU has the
 * time for idle rows (by the cost model, 127 us against 488 for 4 x 4096 x 4096 on an H100).
 */
const fewRows = ({ candidates, plainKernelsOnly, hasSimd8 }: LinearFacts) =>
  candidates.length > 1 && !plainKernelsOnly ? 0 : hasSimd8 ? 2 : 4;

/** Lanes of linear_strided, one for each sum. */
const STRIDED_LANES = 64;
/** Matrices, each way, that four subgroups make on matrix units: WIDE tiles, and those for small products. */
const MATRIX_TILES = { wide: 8, narrow: 4 };
/** Workgroups of wide tiles from which on they are faster: on a GPU of a hundred or so processors, most have one. */
const ENOUGH_WIDE = 80;
/** Two slabs of both operands in turn, 32 terms and 8 to spare of a row or column, each of 2 bytes. */
const wideBytes = (unit: number) => 2 * 2 * MATRIX_TILES.wide * unit * 40 * 2;

/** Workgroups that make [rows, columns], a tile each. */
export function tileGrid(
  { tile }: Pick<LinearChoice, "tile">,
  { rows, columns }: { rows: number; columns: number },
): [number, number, number] {
  return [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), 1];
}

type Way = Pick<LinearChoice, "way" | "constants" | "tile" | "why"> & { conditions?: Conditions };

function matrixWay({ product, rows, columns }: LinearSize, facts: LinearFacts): Way {
  const { matrixUnit: unit, workgroupBytes } = facts;
  const wide = MATRIX_TILES.wide * unit;
  const isWide = facts.forced === WIDE_UNITS || wideBytes(unit) <= workgroupBytes &&
      Math.ceil(rows / wide) * Math.ceil(columns / wide) >= ENOUGH_WIDE;
  const size = isWide ? wide : MATRIX_TILES.narrow * unit;
  return {
    way: "matrix",
    conditions: {
      UNIT8: unit === 8,
      WIDE: isWide,
      GRAD_X: product === "grad_x",
      GRAD_W: product === "grad_w",
    },
    constants: { SUBGROUP: facts.maxSubgroupSize },
    tile: { rows: size, columns: size },
    why: `float16 products run on matrix units, ${size} x ${size} of them a workgroup`,
  };
}

function fewMatrixWay(size: LinearSize, facts: LinearFacts): Way | undefined {
  const { matrixUnit: unit, maxSubgroupSize: SUBGROUP } = facts;
  const constants = fewMatrixTile(size, facts);
  if (!constants) return undefined;
  const tile = fewMatrixSize(constants, unit);
  const why = `few rows on matrix units, ${tile.rows} x ${tile.columns} of them a workgroup`;
  return {
    way: "few_matrix",
    conditions: { UNIT8: unit === 8 },
    constants: { SUBGROUP, ...constants },
    tile,
    why,
  };
}

function registersWay(product: LinearProduct, facts: LinearFacts, why: string): Way {
  // One subgroup on a CPU (8 wide), two warps or more on a GPU; 8 x 8 sums a lane, of which swiglu makes pairs.
  const [WG_X, WG_Y] = [8, facts.hasNarrowSubgroups ? 1 : 8];
  const tile = { rows: 8 * WG_Y, columns: (product === "swiglu" ? 4 : 8) * WG_X };
  return { way: "registers", constants: { WG_X, WG_Y }, tile, why };
}

function simd8Way({ product, rows }: LinearSize, why: string): Way {
  const columns = product === "swiglu" ? 16 : 32;
  if (product === "grad_x" || product === "grad_w") {
    return { way: "simd8", constants: {}, tile: { rows: 16, columns }, why };
  }
  // Half a tile where that holds all rows: rows past the last would cost what others do.
  const TILE_ROWS = rows <= 8 ? 8 : 16;
  return { way: "simd8", constants: { TILE_ROWS }, tile: { rows: TILE_ROWS, columns }, why };
}

function tiledWay(size: LinearSize, facts: LinearFacts): Way {
  const { variant, why } = variantOf(size, facts);
  const constants = TILES[variant];
  if (constants) {
    const tile = { rows: constants.TILE_M, columns: constants.TILE_N };
    return { way: "tile", constants, tile, why: `tiles of ${variant} in workgroup memory: ${why}` };
  }
  if (facts.hasSimd8) {
    return simd8Way(size, `tiles in registers, values broadcast over the 8 lanes of a subgroup: ${why}`);
  }
  return registersWay(size.product, facts, `tiles in registers: ${why}`);
}

/** The way of a product, `swiglu` apart. */
function wayOf(request: LinearRequest, facts: LinearFacts): Way {
  const { product, format, rows, columns, summed, rowCount, precision } = request;
  const isOutput = product === "output";
  const width = isOutput ? summed : columns;
  const stride = isOutput ? 0 : request.stride ?? (product === "grad_x" ? summed : rows);
  if (width % valuesPerLoad(format) !== 0 || stride % 4 !== 0) {
    const why = stride % 4 !== 0
      ? `rows of dy, ${stride} floats apart, do not begin on 16 bytes`
      : `rows of ${width} ${format} values do not begin on 16 bytes`;
    return {
      way: "strided",
      constants: { WG: STRIDED_LANES },
      tile: { rows: 1, columns: STRIDED_LANES },
      why,
    };
  }
  if (precision === "float16") {
    return isOutput && rowCount === "few" && fewMatrixWay(request, facts) || matrixWay(request, facts);
  }
  if (isOutput && rowCount === "few" && rows <= fewRows(facts)) {
    const [WG, ROWS] = [facts.hasNarrowSubgroups ? 8 : 32, rows > 2 ? 4 : rows];
    const why = `up to ${fewRows(facts)} rows, where reading the weight is the cost`;
    return { way: "few", constants: { WG, ROWS }, tile: { rows: ROWS, columns: 4 * WG }, why };
  }
  // The other kernels take dy by fours.
  if (product === "grad_x" && summed % 4 !== 0) {
    return registersWay(product, facts, `${summed} outputs are no multiple of 4`);
  }
  return tiledWay(request, facts);
}

/** Where no kernel for all of it would be faster, `swiglu` is two outputs and what joins them. */
function chooseSwiglu(request: LinearRequest, facts: LinearFacts): LinearChoice {
  const { format, upFormat = format } = request;
  const part = chooseLinear({ ...request, product: "output" }, facts);
  const isFused = (part.way === "simd8" || part.way === "registers") && upFormat === format;
  if (!isFused) {
    const why = upFormat === format ? part.why : `the weights are ${format} and ${upFormat}`;
    return { ...part, why: `two outputs, then swiglu: ${why}` };
  }
  const way = part.way === "simd8" ? simd8Way(request, part.why) : registersWay("swiglu", facts, part.why);
  const kernel = KERNELS.swiglu[part.way as "simd8" | "registers"];
  return { conditions: {}, ...way, product: "swiglu", kernel, workgroups: tileGrid(way, request) };
}

/** The kernel that computes a product, its constants and its grid. */
export function chooseLinear(request: LinearRequest, facts: LinearFacts = openFacts): LinearChoice {
  const { product, rows, columns } = request;
  if (product === "swiglu") return chooseSwiglu(request, facts);
  const way = wayOf(request, facts);
  const kernels: Partial<Record<LinearWay, string>> = KERNELS[product];
  const workgroups = way.way === "strided"
    ? foldGrid(Math.ceil(rows * columns / STRIDED_LANES))
    : tileGrid(way, request);
  return { conditions: {}, ...way, product, kernel: kernels[way.way]!, workgroups };
}
