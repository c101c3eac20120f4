/** Puts the inputs of a case on the GPU. */
import * as tf from "@tensorflow/tfjs";
import { bytesToF32, DTYPE_OF_FORMAT, f32ToBytes } from "../../src/io/tensors/dtype.ts";
import type { WeightFormat } from "../../src/ops/weight/weight.ts";
import type { Arrays, OpCase, Operands } from "./case.ts";

/** Values in the words a kernel reads: f32 as they are, bf16 and f16 two to an i32 (even index low). */
function packWeight(values: Float32Array, format: WeightFormat): Float32Array | Int32Array {
  if (format === "f32") return values;
  if (values.length % 2) {
    throw new RangeError(`Cannot pack ${values.length} values two to a word: need an even number`);
  }
  return new Int32Array(f32ToBytes(values, DTYPE_OF_FORMAT[format]).slice().buffer);
}

function roundToFormat(values: Float32Array, format: WeightFormat): Float32Array {
  return bytesToF32(f32ToBytes(values, DTYPE_OF_FORMAT[format]), DTYPE_OF_FORMAT[format]);
}

/** The f64 arrays that the twin sees: floats rounded to f32, packed weights rounded to their format. */
export function caseArrays(opCase: OpCase): Arrays {
  const arrays: Arrays = {};
  for (const [name, { values, weight }] of Object.entries(opCase.inputs)) {
    if (values instanceof Int32Array) arrays[name] = values;
    else {
      const rounded = Float32Array.from(values);
      arrays[name] = Float64Array.from(weight ? roundToFormat(rounded, weight) : rounded);
    }
  }
  return arrays;
}

/**
 * Tensors and weights of a case. The caller disposes them.
 * @param gradients what those of f32 weights begin with, by name; zeros where not given
 */
export function caseOperands(opCase: OpCase, gradients: Record<string, Float32Array> = {}): Operands {
  const operands: Operands = { tensors: {}, weights: {} };
  for (const [name, { shape, values, weight }] of Object.entries(opCase.inputs)) {
    if (values instanceof Int32Array) {
      operands.tensors[name] = tf.tensor(Int32Array.from(values), shape, "int32");
    } else if (weight) {
      const packed = packWeight(Float32Array.from(values), weight);
      const isF32 = weight === "f32";
      const storedShape = isF32 ? shape : [...shape.slice(0, -1), shape[shape.length - 1] / 2];
      operands.weights[name] = {
        name,
        shape,
        format: weight,
        tensor: tf.tensor(packed, storedShape, isF32 ? "float32" : "int32"),
        grad: isF32 ? (name in gradients ? tf.tensor(gradients[name], shape) : tf.zeros(shape)) : null,
      };
    } else {
      operands.tensors[name] = tf.tensor(Float32Array.from(values), shape, "float32");
    }
  }
  return operands;
}

export function disposeOperands(operands: Operands): void {
  for (const tensor of Object.values(operands.tensors)) tensor.dispose();
  for (const weight of Object.values(operands.weights)) {
    weight.tensor.dispose();
    weight.grad?.dispose();
  }
}
