/** A Hugging Face model folder: config.json, and the weights' values on demand, on the GPU or here. */
import { join } from "node:path";
import { readIfThere } from "../files/presence.ts";
import type { Tensor } from "@tensorflow/tfjs";
import { settle } from "../../gpu/queue.ts";
import { emptyTensor, writeTensor } from "../../gpu/tensors.ts";
import type { RowRange, WeightFormat } from "../../ops/weight/weight.ts";
import { bytesToF32, type FloatDtype, isFloatDtype, type StoredDtype } from "../tensors/dtype.ts";
import { describeModel } from "./config_text.ts";
import { convertedWeights } from "./converted_weights.ts";
import { missingModel } from "./missing_model.ts";
import { openModelWeights } from "./model_weights.ts";
import { canonicalNames } from "./tensor_names.ts";
import type { TensorInfo, TensorReader } from "../tensors/tensor_reader.ts";

export interface ModelFolder {
  dir: string;
  configPath: string;
  configText: string;
  source: TensorValues;
  close(): Promise<void>;
}

export interface TensorValues {
  path: string;
  /** The file that a tensor lies in. */
  fileOf(name: string): string | undefined;
  /** Of all tensors as they are stored; a load that needs not all of them, as with a tied head, reads fewer. */
  totalBytes: number;
  names(): Iterable<string>;
  shapeOf(name: string): readonly number[] | undefined;
  dtypeOf(name: string): StoredDtype | undefined;
  /** The format that holds the values as they are stored; f32 where no two share a word in each row. */
  formatOf(name: string): WeightFormat;
  /** Puts the values, all or those of some rows, on the GPU, piece by piece: as they are stored, or as f32. */
  upload(name: string, format: WeightFormat, rows?: RowRange): Promise<Tensor>;
  /** Values on the host, converted to f32. */
  read(name: string, rows?: RowRange): Promise<Float32Array>;
}

/** Told after each read how many bytes it was, for progress against `totalBytes`. */
export type OnBytes = (byteLength: number) => void;

/** What the host holds of a tensor at a time. */
const PIECE_BYTES = 16 << 20;
/** After so many pieces the GPU is waited for: what it has not taken yet is in host memory too. */
const PIECES_UNDER_WAY = 8;

function packedFormat({ dtype, shape }: TensorInfo): WeightFormat {
  const isPackable = shape.length > 0 && shape[shape.length - 1] % 2 === 0;
  if (dtype === "BF16" && isPackable) return "bf16";
  return dtype === "F16" && isPackable ? "f16" : "f32";
}

/**
 * Where some rows of a tensor lie among its bytes.
 * @throws RangeError when it has no such rows
 */
function placeOfRows(name: string, { shape, byteLength }: TensorInfo, rows?: RowRange) {
  if (!rows) return { shape, begin: 0, length: byteLength };
  const [from, to] = rows;
  const isWithin = shape.length > 0 && Number.isInteger(from) && Number.isInteger(to) && from >= 0 &&
    from <= to &&
    to <= shape[0];
  if (!isWithin) {
    throw new RangeError(
      `Cannot read rows ${from} to ${to} of tensor "${name}": it has the shape [${shape}]`,
    );
  }
  const rowBytes = shape[0] === 0 ? 0 : byteLength / shape[0];
  return { shape: [to - from, ...shape.slice(1)], begin: from * rowBytes, length: (to - from) * rowBytes };
}

/** Reads tensors of an open file. @param path named in errors */
export function tensorValues(reader: TensorReader, path: string, onBytes?: OnBytes): TensorValues {
  const floatInfo = (name: string): TensorInfo & { dtype: FloatDtype } => {
    const info = reader.tensors.get(name)!;
    const { dtype } = info;
    if (isFloatDtype(dtype)) return { ...info, dtype };
    throw new TypeError(
      `${path}: tensor "${name}" has dtype ${dtype}, required F32, BF16 or F16; convert it`,
    );
  };
  return {
    path,
    fileOf: (name) => reader.fileOf?.(name),
    totalBytes: [...reader.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    names: () => reader.tensors.keys(),
    shapeOf: (name) => reader.tensors.get(name)?.shape,
    dtypeOf: (name) => reader.tensors.get(name)?.dtype,
    formatOf: (name) => packedFormat(reader.tensors.get(name)!),
    async upload(name, format, rows) {
      const info = floatInfo(name);
      const { shape, begin, length } = placeOfRows(name, info, rows);
      const isPacked = format !== "f32";
      const gpuShape = isPacked ? [...shape.slice(0, -1), shape[shape.length - 1] / 2] : [...shape];
      const tensor = emptyTensor(gpuShape, isPacked ? "int32" : "float32");
      const widening = isPacked || info.dtype === "F32" ? 1 : 2;
      for (let offset = 0, pieces = 1; offset < length; offset += PIECE_BYTES, pieces++) {
        const bytes = await reader.read(name, begin + offset, Math.min(PIECE_BYTES, length - offset));
        writeTensor(tensor, isPacked ? bytes : bytesToF32(bytes, info.dtype), offset * widening);
        onBytes?.(bytes.byteLength);
        if (pieces % PIECES_UNDER_WAY === 0) await settle();
      }
      return tensor;
    },
    async read(name, rows) {
      const info = floatInfo(name);
      const { begin, length } = placeOfRows(name, info, rows);
      const bytes = await reader.read(name, begin, length);
      onBytes?.(bytes.byteLength);
      return bytesToF32(bytes, info.dtype);
    },
  };
}

export interface OpeningOptions {
  /** Progress of the source's reads. */
  onBytes?: OnBytes;
  /** Reads config.json before the weights are looked for: what it refuses is said first. */
  accept?: (configText: string, configPath: string) => unknown;
}

/**
 * Opens `dir`; weights stay on disk until they are read. Tensors have the names and formats that transformers writes,
 * whatever the file's own are, and config.json describes them so.
 * @throws Error when there is no model, or a file, which it names, is missing or broken
 * @throws TypeError when weights are quantized in a way that is not read, or `accept` throws
 */
export async function openModelFolder(
  dir: string,
  { onBytes, accept }: OpeningOptions = {},
): Promise<ModelFolder> {
  const configPath = join(dir, "config.json");
  const { text: configText, rules } = describeModel(await readConfig(dir), configPath);
  accept?.(configText, configPath);
  const stored = await openModelWeights(dir);
  try {
    const weights = convertedWeights(renamedWeights(stored, dir), dir, rules);
    const source = tensorValues(weights, dir, onBytes);
    return { dir, configPath, configText, source, close: () => stored.close() };
  } catch (error) {
    await stored.close();
    throw error;
  }
}

/**
 * The text of a model's config.json, as it lies there.
 * @throws Error when there is no model, or the file cannot be read
 */
export async function readConfig(dir: string): Promise<string> {
  const text = await readIfThere(join(dir, "config.json"), "read the model's config from");
  if (text === null) throw await missingModel(dir);
  return text;
}

function renamedWeights(reader: TensorReader, dir: string): TensorReader {
  const { stored } = canonicalNames(reader.tensors.keys(), dir);
  const tensors = new Map([...stored].map(([name, original]) => [name, reader.tensors.get(original)!]));
  const read: TensorReader["read"] = (name, offset, length) =>
    reader.read(stored.get(name) ?? name, offset, length);
  return { ...reader, tensors, read, fileOf: (name) => reader.fileOf?.(stored.get(name) ?? name) };
}
