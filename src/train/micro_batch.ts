/** A few rollouts laid end to end for one forward and backward pass. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { inverseRows } from "../ops/gather_rows.ts";
import { type PickedRows, type SequenceTensors, uploadSequences } from "../policy/llama.ts";
import { bucketRows, packSequences } from "../policy/packing.ts";

export interface TokenizedRollout {
  prompt: { ids: readonly number[] };
  tokens: readonly number[];
}

/** M = completion tokens of the micro-batch, rounded up; B = its completions. */
export interface MicroBatch {
  sequences: SequenceTensors;
  /** The row before each completion token: the one that predicts it. */
  picked: PickedRows;
  /** i32 [M]: the completion tokens; -1 = spare. */
  targets: Tensor;
  /** i32 [B+1] */
  offsets: Tensor;
}

/** Uploads a micro-batch. All tensors belong to the surrounding tidy. */
export function uploadMicroBatch(rollouts: readonly TokenizedRollout[]): MicroBatch {
  // Nothing is predicted from the last token, so it is not read.
  const packed = packSequences(rollouts.map(({ prompt, tokens }) => [...prompt.ids, ...tokens.slice(0, -1)]));
  const tokenCount = rollouts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const rows = new Int32Array(bucketRows(tokenCount)).fill(-1);
  const targets = new Int32Array(rows.length).fill(-1);
  const offsets = new Int32Array(rollouts.length + 1);
  let m = 0;
  rollouts.forEach(({ prompt, tokens }, b) => {
    const firstRow = packed.starts[b] + prompt.ids.length - 1;
    tokens.forEach((token, t) => {
      rows[m] = firstRow + t;
      targets[m++] = token;
    });
    offsets[b + 1] = m;
  });
  const i32 = (values: Int32Array) => tf.tensor1d(values, "int32");
  return {
    sequences: uploadSequences(packed),
    picked: { rows: i32(rows), inverse: i32(inverseRows(rows, packed.ids.length)) },
    targets: i32(targets),
    offsets: i32(offsets),
  };
}
