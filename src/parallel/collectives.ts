/** What each collective makes of the values of all ranks, where one process holds them all. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { copyWords } from "../gpu/tensors.ts";
import { assertRoot, assertRounds } from "./asked.ts";
import { type NumberArray, type Share, type Shareable, shareOf, type Wire } from "./communicator.ts";
import { fromBfloat16, packTensor, toBfloat16, unpackTensor } from "./wire.ts";

export type Reduction = "sum" | "max";

const isTensor = (values: Shareable): values is Tensor => values instanceof tf.Tensor;
const lengthOf = (values: Shareable) => isTensor(values) ? values.size : values.length;
const wholeOf = (values: Shareable): Share => ({ start: 0, end: lengthOf(values) });

/** Element-wise over the ranks, of the values in `share`, in rank order; a new array or tensor [share]. */
function reduced(all: readonly Shareable[], reduction: Reduction, { start, end }: Share): Shareable {
  if (isTensor(all[0])) {
    const parts = (all as Tensor[]).map((tensor) =>
      tf.slice(tf.reshape(tensor, [-1]), [start], [end - start])
    );
    return parts.reduce((total, part) => reduction === "sum" ? tf.add(total, part) : tf.maximum(total, part));
  }
  return reducedArrays((all as NumberArray[]).map((values) => values.subarray(start, end)), reduction);
}

/** Element-wise over the ranks' arrays, in rank order; a new array. */
export function reducedArrays([first, ...others]: readonly NumberArray[], reduction: Reduction): NumberArray {
  const total = first.slice();
  for (const values of others) {
    for (let i = 0; i < total.length; i++) {
      // Rounded to the array's type at every rank, as a GPU does.
      total[i] = reduction === "sum" ? total[i] + values[i] : Math.max(total[i], values[i]);
    }
  }
  return total;
}

/** Overwrites the values in `share` with those of `part`: as bits, which arithmetic on whole numbers would not keep. */
function overwrite(target: Shareable, part: Shareable, { start, end }: Share): void {
  if (!isTensor(target)) return target.set(part as NumberArray, start);
  copyWords({ tensor: part as Tensor, first: 0, count: end - start }, target, start);
}

/** @param all values of every rank, in rank order, of one kind and length; changed in place */
export function allReduce(all: readonly Shareable[], reduction: Reduction): void {
  tf.tidy(() => {
    const whole = wholeOf(all[0]);
    const total = reduced(all, reduction, whole);
    for (const values of all) overwrite(values, total, whole);
  });
}

/** Each rank's share of the values, and what it makes of `all`; null where it has none. */
function byShare<R>(all: readonly Shareable[], make: (share: Share, rank: number) => R) {
  return all.map((values, rank) => {
    const share = shareOf(lengthOf(values), rank, all.length);
    return share.start === share.end ? null : { share, rank, made: make(share, rank) };
  }).filter((part) => part !== null);
}

/** What other ranks have of the values after they travelled in bfloat16. */
function rounded(values: Shareable): Shareable {
  assertRounds(values);
  if (!isTensor(values)) return fromBfloat16(toBfloat16(values as Float32Array));
  return tf.slice(unpackTensor(packTensor(values)), [0], [values.size]);
}

/** As allReduce, each rank's share in its own values only. */
export function reduceScatterSum(all: readonly Shareable[], wire: Wire): void {
  tf.tidy(() => {
    const given = wire === "bfloat16" ? all.map(rounded) : all;
    const totals = byShare(given, (share) => reduced(given, "sum", share));
    for (const { share, rank, made } of totals) overwrite(all[rank], made, share);
  });
}

/** Each rank's share of its own values, in all. */
export function allGather(all: readonly Shareable[]): void {
  all.forEach((from, rank) => {
    const { start, end } = shareOf(lengthOf(from), rank, all.length);
    all.forEach((values, reader) => {
      if (reader === rank || start === end) return;
      if (isTensor(from)) {
        copyWords({ tensor: from, first: start, count: end - start }, values as Tensor, start);
      } else (values as NumberArray).set(from.subarray(start, end), start);
    });
  });
}

/**
 * Those of the root, in all.
 * @throws RangeError when there is no such rank
 */
export function broadcast(all: readonly Shareable[], root: number): void {
  assertRoot(root, all.length);
  tf.tidy(() => {
    all.forEach((values, rank) => rank !== root && overwrite(values, all[root], wholeOf(values)));
  });
}
