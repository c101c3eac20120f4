// Weights that a file holds as no GPU takes them, as if it held others: f64 as f32, 8-bit floats as bf16.
//
// An 8-bit float weight "x.weight" may have a scale beside it, which it is multiplied with in f32:
//   x.weight_scale_inv [ceil(rows/128), ceil(columns/128)]   a block each (DeepSeek and Qwen3; no inverse for all that)
//   x.weight_scale     [], [1], [rows] or [rows, 1]          all, or a row each (compressed-tensors, fbgemm, ModelOpt)
// The product is rounded to bf16, as transformers dequantises it (Fp8Dequantize of integrations/finegrained_fp8.py).
// Scales of activations are left out: activations are f32 here.

import { formatError } from "../files/errors.ts";
import { bytesToF32, f32ToBf16, isFloatDtype, type StoredDtype } from "../tensors/dtype.ts";
import { E8M0_VALUES, f64ToF32, F8_VALUES, type Float8Dtype } from "../tensors/small_floats.ts";
import {
  checkedLength,
  type TensorInfo,
  type TensorReader,
  unknownTensor,
} from "../tensors/tensor_reader.ts";

/** Rows and columns of a block, where config.json says them. */
export type BlockSize = readonly [rows: number, columns: number];

const SCALES = ["_scale_inv", "_scale"];
const ACTIVATION_SCALE = /\.(input_scale|activation_scale|output_scale|[qkv]_scale|kv_scale)$/;

/** Which scale a weight's elements are multiplied with. */
interface ScaleGrid {
  name: string;
  /** Of the grid. */
  columns: number;
  block: BlockSize;
}

const isFloat8 = (dtype: StoredDtype): dtype is Float8Dtype => dtype === "F8_E4M3" || dtype === "F8_E5M2";

/**
 * The same weights with f64 as f32 and 8-bit floats as bf16, scales taken in.
 * @param path named in errors
 * @param block of config.json's quantization_config; where it is null, the scale's shape says it
 * @throws Error when a scale has another shape than its weight needs; it names both
 */
export function convertedWeights(reader: TensorReader, path: string, block: BlockSize | null): TensorReader {
  const stored = reader.tensors;
  const tensors = new Map<string, TensorInfo>();
  const grids = new Map<string, ScaleGrid>();
  for (const [name, info] of stored) {
    tensors.set(name, convertedInfo(info));
    const grid = isFloat8(info.dtype) ? gridOf(name, info.shape, stored, { path, block }) : undefined;
    if (grid) grids.set(name, grid);
  }
  const hasFloat8 = [...stored.values()].some(({ dtype }) => isFloat8(dtype));
  for (const { name } of grids.values()) tensors.delete(name);
  for (const name of hasFloat8 ? stored.keys() : []) if (ACTIVATION_SCALE.test(name)) tensors.delete(name);
  const scales = new Map<string, Promise<Float32Array>>();
  const scaleOf = ({ name }: ScaleGrid): Promise<Float32Array> => {
    if (!scales.has(name)) scales.set(name, readScale(reader, name, path));
    return scales.get(name)!;
  };
  return {
    ...reader,
    tensors,
    async read(name, offset = 0, length) {
      const info = tensors.get(name);
      if (info === undefined) throw unknownTensor(name, path, tensors.keys());
      const wanted = checkedLength(name, info, offset, length);
      const { dtype, shape } = stored.get(name)!;
      if (dtype === "F64") return bytesOf(f64ToF32(await reader.read(name, 2 * offset, 2 * wanted)));
      if (!isFloat8(dtype)) return await reader.read(name, offset, wanted);
      const first = offset / 2;
      const values = Float32Array.from(
        await reader.read(name, first, wanted / 2),
        (bits) => F8_VALUES[dtype][bits],
      );
      const grid = grids.get(name);
      if (grid) scaleInPlace(values, first, shape, grid, await scaleOf(grid));
      return bytesOf(f32ToBf16(values));
    },
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);

function convertedInfo(info: TensorInfo): TensorInfo {
  if (info.dtype === "F64") return { dtype: "F32", shape: info.shape, byteLength: info.byteLength / 2 };
  if (isFloat8(info.dtype)) return { dtype: "BF16", shape: info.shape, byteLength: info.byteLength * 2 };
  return info;
}

function gridOf(
  name: string,
  shape: readonly number[],
  stored: ReadonlyMap<string, TensorInfo>,
  { path, block }: { path: string; block: BlockSize | null },
): ScaleGrid | undefined {
  const scaleName = SCALES.map((suffix) => name + suffix).find((scale) => stored.has(scale));
  if (scaleName === undefined) return undefined;
  const scale = stored.get(scaleName)!.shape;
  const [rows, columns] = [shape[0] ?? 1, shape.slice(1).reduce((product, size) => product * size, 1)];
  const count = scale.reduce((product, size) => product * size, 1);
  if (count === 1) return { name: scaleName, columns: 1, block: [rows, columns] };
  if (count === rows && scale[0] === rows) return { name: scaleName, columns: 1, block: [1, columns] };
  const size = shape.length === 2 && scale.length === 2 ? blockOf([rows, columns], scale, block) : undefined;
  if (size) return { name: scaleName, columns: scale[1], block: size };
  const blocks = `one for each block${block ? ` of ${block.join("x")}` : ""}`;
  throw formatError(
    path,
    `"${scaleName}" of shape [${scale}] does not fit its weight of shape [${shape}]: required one scale, ` +
      `one for each row, or ${blocks}; download or convert the model again`,
  );
}

function blockOf(shape: BlockSize, grid: readonly number[], given: BlockSize | null): BlockSize | undefined {
  if (given?.every((size, axis) => Math.ceil(shape[axis] / size) === grid[axis])) return given;
  if (given || shape.some((size, axis) => grid[axis] === 0 || size % grid[axis] !== 0)) return undefined;
  return [shape[0] / grid[0], shape[1] / grid[1]];
}

async function readScale(reader: TensorReader, name: string, path: string): Promise<Float32Array> {
  const { dtype } = reader.tensors.get(name)!;
  const bytes = await reader.read(name);
  if (isFloatDtype(dtype)) return bytesToF32(bytes, dtype);
  if (dtype === "F64") return f64ToF32(bytes);
  if (dtype === "F8_E8M0") return Float32Array.from(bytes, (bits) => E8M0_VALUES[bits]);
  throw formatError(
    path,
    `"${name}" has dtype ${dtype}, required a float as the scale of a weight; convert it`,
  );
}

/** @param first index of the first value in its tensor */
function scaleInPlace(
  values: Float32Array,
  first: number,
  shape: readonly number[],
  grid: ScaleGrid,
  scales: Float32Array,
): void {
  const columns = shape.slice(1).reduce((product, size) => product * size, 1);
  for (let i = 0; i < values.length; i++) {
    const [row, column] = [Math.floor((first + i) / columns), (first + i) % columns];
    // A product of two f32 in f64 is exact, and stored it is rounded once: the product of f32.
    values[i] *= scales[Math.floor(row / grid.block[0]) * grid.columns + Math.floor(column / grid.block[1])];
  }
}
