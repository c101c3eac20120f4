/** Copies of a case's operands, used in turn, so that a small case is not timed from a cache that it never leaves. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { byteSize, copyOf } from "../src/gpu/tensors.ts";
import type { OpCase, Operands } from "../test/cases/case.ts";
import { caseOperands, disposeOperands } from "../test/cases/operands.ts";

/** More than the last-level cache of the devices of 2025 (50 MB on an H100, tens on a CPU). */
export const ROTATED_BYTES = 128 * 2 ** 20;
/** Each copy is a bind group and a few buffers of its own. */
const MOST_COPIES = 256;

export interface Rotation {
  operands: Operands[];
  /** Bytes that a round over all copies reads and writes; under ROTATED_BYTES a cache may hold them. */
  bytes: number;
}

const tensorsOf = ({ tensors, weights }: Operands): Tensor[] => [
  ...Object.values(tensors),
  ...Object.values(weights).flatMap(({ tensor, grad }) => grad ? [tensor, grad] : [tensor]),
];
const sizeOf = (tensors: readonly Tensor[]) => tensors.reduce((sum, tensor) => sum + byteSize(tensor), 0);

function copyOperands({ tensors, weights }: Operands): Operands {
  return {
    tensors: Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, copyOf(tensor)])),
    weights: Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => [
        name,
        { ...weight, tensor: copyOf(weight.tensor), grad: weight.grad && copyOf(weight.grad) },
      ]),
    ),
  };
}

/** How many copies of so many bytes leave the caches; bounded, so tiny cases stay in them. */
export function copiesFor(bytes: number): number {
  return Math.max(1, Math.min(MOST_COPIES, Math.ceil(ROTATED_BYTES / bytes)));
}

/** Operands of a case with as many copies as leave the caches, in memory of about ROTATED_BYTES. */
export function rotatedOperands(opCase: OpCase): Rotation {
  const first = caseOperands(opCase);
  const inputs = tensorsOf(first);
  const kept = new Set(inputs.map(({ dataId }) => dataId));
  const outputs = tf.tidy(() => opCase.run(first));
  // In-place ops return what they were given.
  const made = outputs.filter(({ dataId }) => !kept.has(dataId));
  const ofOne = sizeOf(inputs) + sizeOf(made);
  tf.dispose(outputs.filter((tensor) => !inputs.includes(tensor)));
  const copies = copiesFor(ofOne);
  const operands = [first, ...Array.from({ length: copies - 1 }, () => copyOperands(first))];
  return { operands, bytes: copies * ofOne };
}

export function disposeRotation({ operands }: Rotation): void {
  operands.forEach(disposeOperands);
}
