/**
 * Beginnings that several sequences share (the prompt of a group), computed once. Their keys and values are kept per
 * layer; the sequences go on from there, and what they pull at the keys gathers beside them until the beginnings'
 * own backward pass takes it in. The maths is that of the whole sequences; forward has the same bits.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { clearTensor, emptyTensor } from "../gpu/tensors.ts";
import { backpropagate } from "../gpu/op.ts";
import { addGradient } from "../ops/elementwise/add_gradient.ts";
import { attention, type PrefixKeys, type PrefixRows } from "../ops/attention/attention.ts";
import { rotate, trunkForward } from "./transformer.ts";
import type { SequenceTensors, Trunk } from "./trunk.ts";
import { type PackedSequences, packSequences } from "./packing.ts";

/** Sequences laid end to end that go on from beginnings. */
interface PackedRests extends PackedSequences {
  /** i32 [N,2]: rows of the beginnings that each token sees. */
  ranges: Int32Array;
  /** i32 [P,2]: rows of the sequences that see each row of the beginnings. */
  readers: Int32Array;
}

/**
 * Lays out what follows the beginnings.
 * @param prefixOf index of each sequence's beginning
 * @throws RangeError when the sequences of one beginning do not stand together
 */
export function packRests(
  rests: readonly ArrayLike<number>[],
  prefixOf: readonly number[],
  prefixes: PackedSequences,
): PackedRests {
  const { starts } = prefixes;
  const packed = packSequences(rests, prefixOf.map((p) => starts[p + 1] - starts[p]));
  const ranges = new Int32Array(2 * packed.ids.length);
  const readers = new Int32Array(2 * prefixes.ids.length);
  const seen = new Set<number>();
  prefixOf.forEach((p, s) => {
    for (let row = packed.starts[s]; row < packed.starts[s + 1]; row++) {
      ranges.set([starts[p], starts[p + 1]], 2 * row);
    }
    const begins = prefixOf[s - 1] !== p;
    if (begins && seen.has(p)) {
      throw new RangeError(
        `Cannot share beginning ${p}: its sequences must stand together, got [${prefixOf}]`,
      );
    }
    seen.add(p);
    for (let row = starts[p]; row < starts[p + 1]; row++) {
      if (begins) readers[2 * row] = packed.starts[s];
      readers[2 * row + 1] = packed.starts[s + 1];
    }
  });
  return { ...packed, ranges, readers };
}

function commonLength(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

/** Neighbouring sequences that begin alike; `length` of them, which leaves each at least one token of its own. */
interface Run {
  first: number;
  count: number;
  length: number;
}

/** Runs of neighbours, each as long as sharing saves more tokens with the next sequence than without. */
function runsAlike(sequences: readonly ArrayLike<number>[]): Run[] {
  const runs: Run[] = [];
  sequences.forEach((tokens, s) => {
    const run = runs[runs.length - 1] as Run | undefined;
    const common = run ? commonLength(sequences[run.first], tokens) : 0;
    const length = run ? Math.min(run.length, common, tokens.length - 1) : 0;
    if (run && length > 0 && run.count * length >= (run.count - 1) * run.length) {
      run.count++;
      run.length = length;
    } else {
      runs.push({ first: s, count: 1, length: tokens.length - 1 });
    }
  });
  return runs;
}

/** Sequences cut into beginnings and rests. */
interface CutSequences {
  prefixes: ArrayLike<number>[];
  /** Index of each sequence's beginning. */
  prefixOf: number[];
  rests: ArrayLike<number>[];
}

/** A pass of its own for the beginnings must save at least this share of the tokens. */
const LEAST_SAVING = 0.2;

/** Cuts off what neighbouring sequences have in common; null where that saves little. */
export function cutCommonBeginnings(sequences: readonly ArrayLike<number>[]): CutSequences | null {
  const runs = runsAlike(sequences);
  const saved = runs.reduce((sum, { count, length }) => sum + (count - 1) * length, 0);
  if (saved < LEAST_SAVING * sequences.reduce((sum, { length }) => sum + length, 0)) return null;
  const cut = (tokens: ArrayLike<number>, from: number, to?: number) => Array.from(tokens).slice(from, to);
  const lengthOf = ({ count, length }: Run) => count > 1 ? length : 0;
  const prefixOf = runs.flatMap(({ count }, p) => Array<number>(count).fill(p));
  return {
    prefixes: runs.map((run) => cut(sequences[run.first], 0, lengthOf(run))),
    prefixOf,
    rests: sequences.map((tokens, s) => cut(tokens, lengthOf(runs[prefixOf[s]]))),
  };
}

/** All tensors belong to the surrounding tidy. */
export function uploadPrefixRows({ ranges, readers }: PackedRests): PrefixRows {
  return {
    ranges: tf.tensor2d(ranges, [ranges.length / 2, 2], "int32"),
    readers: tf.tensor2d(readers, [readers.length / 2, 2], "int32"),
  };
}

/** Keys and values of the beginnings in every layer, for sequences to go on from. Dispose with disposeKeys. */
export function prefixKeys(trunk: Trunk, prefixes: SequenceTensors, withGradients: boolean): PrefixKeys[] {
  const keys: PrefixKeys[] = [];
  const { positions, bounds } = prefixes;
  tf.tidy(() => {
    trunkForward(trunk, prefixes, (l, q, k, v) => {
      const turned = rotate(trunk, l, k, positions);
      const gradient = () => withGradients ? tf.keep(emptyTensor(k.shape)) : null;
      keys[l] = { k: tf.keep(turned), v: tf.keep(v), dk: gradient(), dv: gradient() };
      return attention({ q: rotate(trunk, l, q, positions), k: turned, v, bounds }, trunk.layers[l].shape);
    }, "many");
  });
  return keys;
}

/** Sets the gathered gradients to zero: they begin undefined. */
export function clearGradients(keys: readonly PrefixKeys[]): void {
  for (const { dk, dv } of keys) [dk, dv].forEach((gradient) => gradient && clearTensor(gradient));
}

export function disposeKeys(keys: readonly PrefixKeys[] | null): void {
  for (const layer of keys ?? []) Object.values(layer).forEach((tensor: Tensor | null) => tensor?.dispose());
}

/**
 * Backward through the beginnings, from the gradients that gathered in `keys`; adds into the weights' gradients.
 * @param none zeros [P,D]: nobody reads the last layer's output
 */
export function prefixBackward(
  trunk: Trunk,
  prefixes: SequenceTensors,
  keys: readonly PrefixKeys[],
  none: Tensor,
): void {
  const { positions, bounds } = prefixes;
  const forward = () =>
    trunkForward(trunk, prefixes, (l, q, k, v) => {
      const { dk, dv } = keys[l];
      const [pulledK, pulledV] = [addGradient(rotate(trunk, l, k, positions), dk!), addGradient(v, dv!)];
      return attention(
        { q: rotate(trunk, l, q, positions), k: pulledK, v: pulledV, bounds },
        trunk.layers[l].shape,
      );
    }, "many");
  tf.tidy(() => void backpropagate(forward, [trunk.root], none));
}
