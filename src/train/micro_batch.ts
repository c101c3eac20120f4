/** A few rollouts laid end to end for one forward and backward pass. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { inverseRows } from "../ops/rows/gather_rows.ts";
import { uploadSequences } from "../policy/transformer.ts";
import type { PickedRows, SequenceTensors } from "../policy/trunk.ts";
import type { PrefixRows } from "../ops/attention/attention.ts";
import { bucketRows, type PackedSequences, packSequences } from "../policy/packing.ts";
import { packRests, uploadPrefixRows } from "../policy/shared_prefix.ts";

export interface TokenizedRollout {
  prompt: { ids: readonly number[] };
  tokens: readonly number[];
}

/** M = completion tokens of the micro-batch, rounded up; B = its completions. */
export interface MicroBatch {
  sequences: SequenceTensors;
  /** Where the prompts were computed before; null where they are part of the sequences. */
  prefixRows: PrefixRows | null;
  /** The row before each completion token: the one that predicts it. */
  picked: PickedRows;
  /** i32 [M]: the completion tokens; -1 = spare. */
  targets: Tensor;
  /** i32 [B+1] */
  offsets: Tensor;
}

/** Prompts that are computed once for all their completions: all but the last token, which predicts the first. */
export interface SharedPrompts {
  packed: PackedSequences;
  /** Index of each rollout's prompt. */
  indexOf: ReadonlyMap<TokenizedRollout, number>;
}

/** The prompts of rollouts, those of one prompt standing together; null where there is nothing to share. */
export function sharePrompts(rollouts: readonly TokenizedRollout[]): SharedPrompts | null {
  const indexOf = new Map<TokenizedRollout, number>();
  const beginnings: (readonly number[])[] = [];
  rollouts.forEach((rollout, i) => {
    if (rollout.prompt !== rollouts[i - 1]?.prompt) beginnings.push(rollout.prompt.ids.slice(0, -1));
    indexOf.set(rollout, beginnings.length - 1);
  });
  const isShared = beginnings.length < rollouts.length && beginnings.some(({ length }) => length > 0);
  return isShared ? { packed: packSequences(beginnings), indexOf } : null;
}

/**
 * Uploads a micro-batch. All tensors belong to the surrounding tidy.
 * @param prompts where they are computed apart; the sequences then begin with the prompt's last token
 */
export function uploadMicroBatch(
  rollouts: readonly TokenizedRollout[],
  prompts: SharedPrompts | null = null,
): MicroBatch {
  const firstToken = ({ prompt }: TokenizedRollout) => prompts ? prompt.ids.length - 1 : 0;
  // Nothing is predicted from the last token, so it is not read.
  const sequences = rollouts.map((rollout) => [
    ...rollout.prompt.ids.slice(firstToken(rollout)),
    ...rollout.tokens.slice(0, -1),
  ]);
  const rests = prompts && packRests(sequences, rollouts.map((r) => prompts.indexOf.get(r)!), prompts.packed);
  const packed = rests ?? packSequences(sequences);
  const tokenCount = rollouts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const rows = new Int32Array(bucketRows(tokenCount)).fill(-1);
  const targets = new Int32Array(rows.length).fill(-1);
  const offsets = new Int32Array(rollouts.length + 1);
  let m = 0;
  rollouts.forEach((rollout, b) => {
    const firstRow = packed.starts[b] + rollout.prompt.ids.length - 1 - firstToken(rollout);
    rollout.tokens.forEach((token, t) => {
      rows[m] = firstRow + t;
      targets[m++] = token;
    });
    offsets[b + 1] = m;
  });
  const i32 = (values: Int32Array) => tf.tensor1d(values, "int32");
  return {
    sequences: uploadSequences(packed),
    prefixRows: rests && uploadPrefixRows(rests),
    picked: { rows: i32(rows), inverse: i32(inverseRows(rows, packed.ids.length)) },
    targets: i32(targets),
    offsets: i32(offsets),
  };
}
