/** Where the parameters of a model come from: a file, the host, or nothing. */
import type { Tensor } from "@tensorflow/tfjs";
import { emptyTensor, uploadTensor } from "../gpu/tensors.ts";
import type { RowRange, WeightFormat } from "../ops/weight/weight.ts";

/** Where parameters come from, by name. */
export interface WeightSource {
  /** What the weights came from, for errors. */
  path: string;
  /** The file that a tensor lies in, for errors; absent where `path` is all there is to say. */
  fileOf?(name: string): string | undefined;
  /** All tensors there are; absent where values are made on demand. */
  names?(): Iterable<string>;
  shapeOf(name: string): readonly number[] | undefined;
  /** How the values are stored; a packed format only where two share a word in each row. */
  formatOf(name: string): WeightFormat;
  /**
   * Puts the values on the GPU, as they are stored or as f32.
   * @param rows of the first axis; all where it is left out
   * @returns f32 of the rows' shape, or int32 with half the columns
   */
  upload(name: string, format: WeightFormat, rows?: RowRange): Promise<Tensor>;
  /** f32 values on the host, of what is needed there. */
  read(name: string, rows?: RowRange): Promise<Float32Array>;
}

/** The shape of some rows of a tensor. */
function shapeOfRows(shape: readonly number[], rows?: RowRange): number[] {
  return rows ? [rows[1] - rows[0], ...shape.slice(1)] : [...shape];
}

/** A source of values that are made or kept on the host, in f32. */
export function hostSource(
  values: Pick<WeightSource, "path" | "names" | "shapeOf" | "read">,
): WeightSource {
  const { path, names, shapeOf, read } = values;
  const upload = async (name: string, _format: WeightFormat, rows?: RowRange) =>
    uploadTensor(await read(name, rows), shapeOfRows(shapeOf(name)!, rows));
  return { path, names, shapeOf, read, formatOf: () => "f32", upload };
}

/** A source of tensors without values, to rehearse with. @param format of every matrix of even width */
export function emptySource(
  shapeOf: WeightSource["shapeOf"],
  formatOf: WeightSource["formatOf"],
): WeightSource {
  return {
    path: "rehearsal",
    shapeOf,
    formatOf,
    upload(name, format, rows) {
      const shape = shapeOfRows(shapeOf(name)!, rows);
      if (format === "f32") return Promise.resolve(emptyTensor(shape));
      return Promise.resolve(emptyTensor([...shape.slice(0, -1), shape[shape.length - 1] / 2], "int32"));
    },
    read: (name, rows) =>
      Promise.resolve(new Float32Array(shapeOfRows(shapeOf(name)!, rows).reduce((size, n) => size * n, 1))),
  };
}
