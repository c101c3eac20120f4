/** What a rank asks its communicator for, in words: every rank must ask for the same. */
import * as tf from "@tensorflow/tfjs";
import type { Shareable } from "./communicator.ts";

/** As a message names it. */
export function kindOf(values: Shareable): string {
  return values instanceof tf.Tensor
    ? `a tensor of ${values.size} ${values.dtype} values`
    : `${values.constructor.name} of ${values.length} values`;
}

interface Asked {
  rank: number;
  text: string;
}

/** What all of them fail with where two ask for different things. @param number of the collective, from 1 */
export function cameApart(number: number, first: Asked, other: Asked): Error {
  return new Error(
    `The ranks have come apart: for their collective ${number} rank ${first.rank} calls ${first.text}, ` +
      `rank ${other.rank} calls ${other.text}; every rank must make the same calls in the same order`,
  );
}

/** The text of a reason to leave; "" without one. */
export function reasonText(reason: unknown): string {
  return reason === undefined ? "" : reason instanceof Error ? reason.message : String(reason);
}

/** What the others fail with, and it as well. */
export function hasLeft(rank: number, reason: string, cause?: unknown): Error {
  const why = reason === "" ? "" : `: ${reason}`;
  return new Error(`Rank ${rank} has left the run, and no other can go on without it${why}`, { cause });
}

/** @throws RangeError when there is no such rank */
export function assertRoot(root: number, size: number): void {
  if (Number.isSafeInteger(root) && root >= 0 && root < size) return;
  throw new RangeError(`Cannot broadcast from rank ${root}: need a rank from 0 to ${size - 1}`);
}

/** @throws TypeError when values cannot travel in bfloat16 */
export function assertRounds(values: Shareable): void {
  const isFloat = values instanceof tf.Tensor ? values.dtype === "float32" : values instanceof Float32Array;
  if (isFloat) return;
  throw new TypeError(`Cannot send ${kindOf(values)} in bfloat16: need float32 values`);
}
