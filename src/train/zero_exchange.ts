/** Gradients and weights on their way between ranks, in buckets that are cut across tensors. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { copyWords, emptyTensor, type Words } from "../gpu/tensors.ts";
import { add } from "../ops/elementwise/add.ts";
import type { Communicator, Wire } from "../parallel/communicator.ts";
import { countWords, cutWords, gradientWords, type Piece, weightWords } from "./zero_shares.ts";

export type ExchangeConfig = Pick<
  RunConfig,
  | "reduce_bucket_size"
  | "allgather_bucket_size"
  | "overlap_comm"
  | "communication_dtype"
  | "dtype"
  | "use_peft"
>;

/** Values of a bucket at the most: 64 MiB, from where on larger ones are no faster. */
const MOST_VALUES = 2 ** 24;

/** A bucket: of each stream the words of one stretch, the streams' parts being `to - from` words long. */
interface Bucket {
  tensor: Tensor;
  from: number;
  to: number;
  parts: Words[][];
}

/** Lays words end to end into a tensor, from its word `at` on. */
function pack(words: readonly Words[], tensor: Tensor, at: number): void {
  for (const each of words) {
    copyWords(each, tensor, at);
    at += each.count;
  }
}

/** The other way. */
function unpack(tensor: Tensor, first: number, words: readonly Words[]): void {
  for (const { tensor: target, first: at, count } of words) {
    copyWords({ tensor, first, count }, target, at);
    first += count;
  }
}

const fill = ({ tensor, from, to, parts }: Bucket, stream: number) =>
  pack(parts[stream], tensor, stream * (to - from));

const spread = ({ tensor, from, to, parts }: Bucket, stream: number) =>
  unpack(tensor, stream * (to - from), parts[stream]);

/** sums = sums + what the bucket has of a stream. */
function addTo(sums: readonly Words[], { tensor, from, to }: Bucket, stream: number): void {
  const own = cutWords(sums, from, to);
  const count = countWords(own);
  if (count === 0) return;
  tf.tidy(() => {
    const [before, more] = [emptyTensor([1, count]), emptyTensor([1, count])];
    pack(own, before, 0);
    copyWords({ tensor, first: stream * (to - from), count }, more, 0);
    unpack(add(before, more), 0, own);
  });
}

interface Travel {
  bucketValues: number;
  dtype: "float32" | "int32";
  overlaps: boolean;
}

/**
 * Cuts the streams into buckets, and has each of them exchanged: at most two are under way.
 * @param exchange fills the bucket, has it travel, and takes what it needs of it
 */
async function inBuckets(
  streams: readonly Words[][],
  { bucketValues, dtype, overlaps }: Travel,
  exchange: (bucket: Bucket) => Promise<void>,
): Promise<void> {
  const longest = streams.reduce((most, stream) => Math.max(most, countWords(stream)), 0);
  const width = Math.min(longest, Math.ceil(Math.min(bucketValues, MOST_VALUES) / streams.length));
  const underWay: Promise<void>[] = [];
  try {
    for (let from = 0; from < longest; from += width) {
      if (underWay.length === (overlaps ? 2 : 1)) await underWay.shift();
      const to = Math.min(longest, from + width);
      const parts = streams.map((stream) => cutWords(stream, from, to));
      const tensor = tf.tidy(() => tf.keep(emptyTensor([streams.length * (to - from)], dtype)));
      const travelled = exchange({ tensor, from, to, parts }).finally(() => tensor.dispose());
      travelled.catch(() => {}); // told to whoever waits for it
      underWay.push(travelled);
    }
    await Promise.all(underWay);
  } finally {
    await Promise.allSettled(underWay);
  }
}

const gradientTravel = ({ reduce_bucket_size, overlap_comm }: ExchangeConfig): Travel => ({
  bucketValues: reduce_bucket_size,
  dtype: "float32",
  overlaps: overlap_comm,
});

/** What gradients travel as. */
function wireOf({ communication_dtype, dtype, use_peft }: ExchangeConfig): Wire {
  if (communication_dtype !== "auto") return communication_dtype;
  return dtype === "bfloat16" && !use_peft ? "bfloat16" : "float32";
}

/** Every weight's gradient = the sum over the ranks. @param pieces of all ranks */
export function sumGradients(
  communicator: Communicator,
  pieces: readonly Piece[][],
  config: ExchangeConfig,
): Promise<void> {
  const wire = wireOf(config);
  return inBuckets([pieces.flat().map(gradientWords)], gradientTravel(config), async (bucket) => {
    fill(bucket, 0);
    if (wire === "float32") await communicator.allReduceSum(bucket.tensor);
    else {
      await communicator.reduceScatterSum(bucket.tensor, wire);
      await communicator.allGather(bucket.tensor);
    }
    spread(bucket, 0);
  });
}

/** @param take what it is to do with the sums of this rank's pieces, in a bucket */
function scatterGradients(
  communicator: Communicator,
  pieces: readonly Piece[][],
  config: ExchangeConfig,
  take: (bucket: Bucket) => void,
): Promise<void> {
  const wire = wireOf(config);
  const streams = pieces.map((own) => own.map(gradientWords));
  return inBuckets(streams, gradientTravel(config), async (bucket) => {
    pieces.forEach((_, rank) => fill(bucket, rank));
    await communicator.reduceScatterSum(bucket.tensor, wire);
    take(bucket);
  });
}

/** As sumGradients, each rank's pieces on that rank alone; what other ranks hold has no meaning here any more. */
export function sumOwnGradients(
  communicator: Communicator,
  pieces: readonly Piece[][],
  config: ExchangeConfig,
): Promise<void> {
  return scatterGradients(communicator, pieces, config, (bucket) => spread(bucket, communicator.rank));
}

/**
 * Adds the sum over the ranks of their gradients' pieces to what this rank has of them already.
 * @param sums of this rank's pieces, in their order
 */
export function addOwnGradients(
  communicator: Communicator,
  { pieces, sums }: { pieces: readonly Piece[][]; sums: readonly Words[] },
  config: ExchangeConfig,
): Promise<void> {
  return scatterGradients(communicator, pieces, config, (bucket) => addTo(sums, bucket, communicator.rank));
}

/** Every weight = what the ranks that hold its pieces have there, as it is stored. */
export function gatherWeights(
  communicator: Communicator,
  pieces: readonly Piece[][],
  { allgather_bucket_size, overlap_comm }: ExchangeConfig,
): Promise<void> {
  const streams = pieces.map((own) => own.map(weightWords));
  // Words of either kind travel as bits.
  const travel = { bucketValues: allgather_bucket_size, dtype: "int32", overlaps: overlap_comm } as const;
  return inBuckets(streams, travel, async (bucket) => {
    fill(bucket, communicator.rank);
    await communicator.allGather(bucket.tensor);
    pieces.forEach((_, rank) => rank !== communicator.rank && spread(bucket, rank));
  });
}
