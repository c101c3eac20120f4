/** Tiles of linear_few_matrix.wgsl: narrow, so that few rows are work for a whole GPU with sums in one chain. */
import type { MatrixUnit } from "../../gpu/precision.ts";

/** Matrices of a tile: of each subgroup RUN one below the other and COLUMN_RUN side by side, and subgroups each way. */
export interface FewMatrixTile {
  RUN: number;
  COLUMN_RUN: number;
  ROW_PARTS: number;
  COLUMN_PARTS: number;
}

export const FEW_MATRIX_KERNEL = "linear_few_matrix";

/** Beyond so many tiles of rows the kernel for many is faster: weights are read once for each. */
const MOST_ROW_TILES = 2;
/**
 * From so many columns on, tiles twice as wide still fill a GPU, and read x half as often. Beside two matrices of rows
 * a subgroup makes two of columns, so that each operand that it takes from workgroup memory serves twice.
 */
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
  const ofParts = (COLUMN_RUN: number, COLUMN_PARTS: number) => ({
    RUN,
    COLUMN_RUN,
    ROW_PARTS,
    COLUMN_PARTS,
  });
  const wide = ROW_PARTS === 2 ? ofParts(2, 2) : ofParts(1, 4);
  const narrow = ofParts(1, 2);
  const tiles = columns >= MANY_COLUMNS && maxSubgroupSize <= 32 ? [wide, narrow] : [narrow];
  return [...tiles, { ...narrow, ROW_PARTS: 1 }].find((tile) =>
    fewMatrixBytes(tile, matrixUnit) <= workgroupBytes
  );
}

/** Rows and columns of sums that a workgroup makes. */
export const fewMatrixSize = (
  { RUN, COLUMN_RUN, ROW_PARTS, COLUMN_PARTS }: FewMatrixTile,
  unit: MatrixUnit,
) => ({
  rows: RUN * ROW_PARTS * unit,
  columns: COLUMN_RUN * COLUMN_PARTS * unit,
});
