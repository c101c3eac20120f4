/** Tiles of linear_few_matrix.wgsl: narrow, so that few rows are work for a whole GPU with sums in one chain. */
import type { MatrixUnit } from "../../gpu/precision.ts";

/** Matrices of a tile: RUN one below the other by each subgroup, and subgroups down and across. */
export interface FewMatrixTile {
  RUN: number;
  ROW_PARTS: number;
  COLUMN_PARTS: number;
}

export const FEW_MATRIX_KERNEL = "linear_few_matrix";

/** Beyond so many tiles of rows the kernel for many is faster: weights are read once for each. */
const MOST_ROW_TILES = 2;
/** From so many columns on, tiles twice as wide still fill a GPU, and read x half as often. */
const MANY_COLUMNS = 8192;
const WIDEST_SUBGROUP = 64;

interface TileFacts {
  matrixUnit: MatrixUnit;
  maxSubgroupSize: number;
  /** Of workgroup memory. */
  workgroupBytes: number;
}

/** Of a slab of both operands, a block of eight halves to spare in a line, and of 16 ranks of rows and columns. */
function fewMatrixBytes(tile: FewMatrixTile, unit: MatrixUnit): number {
  const { rows, columns } = fewMatrixSize(tile, unit);
  return (rows + columns) * (unit + 1) * 16 + 4 * (17 * rows + 16 * columns);
}

/** The tile for so many rows and columns; undefined where another kernel is faster, or the device too small. */
export function fewMatrixTile(
  { rows, columns }: { rows: number; columns: number },
  { matrixUnit, maxSubgroupSize, workgroupBytes }: TileFacts,
): FewMatrixTile | undefined {
  if (maxSubgroupSize > WIDEST_SUBGROUP || rows > MOST_ROW_TILES * 4 * matrixUnit) return undefined;
  const [RUN, ROW_PARTS] = rows <= matrixUnit ? [1, 1] : rows <= 2 * matrixUnit ? [2, 1] : [2, 2];
  const wide = columns >= MANY_COLUMNS && maxSubgroupSize <= 32 ? [4] : [];
  const tiles = [...wide, 2].map((COLUMN_PARTS) => ({ RUN, ROW_PARTS, COLUMN_PARTS }));
  const smaller = { RUN, ROW_PARTS: 1, COLUMN_PARTS: 2 };
  return [...tiles, smaller].find((tile) => fewMatrixBytes(tile, matrixUnit) <= workgroupBytes);
}

/** Rows and columns of sums that a workgroup makes. */
export const fewMatrixSize = ({ RUN, ROW_PARTS, COLUMN_PARTS }: FewMatrixTile, unit: MatrixUnit) => ({
  rows: RUN * ROW_PARTS * unit,
  columns: COLUMN_PARTS * unit,
});
