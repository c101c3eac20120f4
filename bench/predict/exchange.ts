/**
 * Seconds of what ranks say to each other, as the program says it: a sum is every share sent to its owner (alltoall),
 * added there in rank order, and sent back to all (allgather). Buckets go through three stages side by side, GPU to
 * host, MPI, host to GPU; the slowest sets the pace. Pure.
 */
import type { Interconnect } from "./interconnects.ts";

/** What a collective moves. */
export interface Exchange {
  seconds: number;
  /** That a rank sends to others; it receives as much. */
  sentBytes: number;
}

/** Of what is sent at once. */
const BUCKET_BYTES = 32 * 2 ** 20;
/** Assumed: JavaScript, a submit and the wait for a copy to be mapped, of a bucket that nothing hides. */
const CALL_SECONDS = 300e-6;

export const NOTHING: Exchange = { seconds: 0, sentBytes: 0 };

export const together = (...parts: readonly Exchange[]): Exchange => ({
  seconds: parts.reduce((sum, { seconds }) => sum + seconds, 0),
  sentBytes: parts.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
});

export const repeated = ({ seconds, sentBytes }: Exchange, times: number): Exchange => ({
  seconds: seconds * times,
  sentBytes: sentBytes * times,
});

/** Ranks beside this one: on its node, and on others. */
function others(
  ranks: number,
  { ranksPerNode }: Interconnect,
): { near: number; far: number; onNode: number } {
  const onNode = Math.min(ranks, ranksPerNode);
  return { near: onNode - 1, far: ranks - onNode, onNode };
}

/** Seconds in MPI while every rank sends so many bytes to each other, and as many come. */
function messageSeconds(bytesToEach: number, ranks: number, link: Interconnect): number {
  const { near, far, onNode } = others(ranks, link);
  return near * (link.latency.node + bytesToEach / link.nodeBytes) +
    far * (link.latency.wire + bytesToEach * onNode / link.wireBytes);
}

/** @param down bytes that are read from the GPU @param up bytes that are written to it */
function staged(toEach: number, down: number, up: number, ranks: number, link: Interconnect): Exchange {
  if (ranks === 1) return NOTHING;
  const buckets = Math.max(1, Math.ceil(toEach * ranks / BUCKET_BYTES));
  const latencies = (buckets - 1) * messageSeconds(0, ranks, link);
  const stages = [
    down / link.gpuBytes,
    messageSeconds(toEach, ranks, link) + latencies,
    up / link.gpuBytes,
  ];
  const slowest = Math.max(...stages);
  const all = stages.reduce((sum, stage) => sum + stage, 0);
  // All stages of the first bucket and the last one's are seen beside the slowest.
  return {
    seconds: slowest + (all - slowest) / buckets + CALL_SECONDS,
    sentBytes: toEach * (ranks - 1),
  };
}

/** Every rank's sum of its share. @param bytes of the whole, as it is sent */
export const reduceScatter = (bytes: number, ranks: number, link: Interconnect): Exchange =>
  staged(bytes / ranks, bytes, bytes, ranks, link);

/** Every rank's share at all. @param bytes of the whole, as it is sent */
export const allGather = (bytes: number, ranks: number, link: Interconnect): Exchange =>
  staged(bytes / ranks, bytes / ranks, bytes, ranks, link);

/** The sum at all. @param bytes of the whole, as it is sent */
export const allReduce = (bytes: number, ranks: number, link: Interconnect): Exchange =>
  together(reduceScatter(bytes, ranks, link), allGather(bytes, ranks, link));

/** A few numbers of each rank at all, from JavaScript. @param bytes of each */
export function gatherNumbers(bytes: number, ranks: number, link: Interconnect): Exchange {
  if (ranks === 1) return NOTHING;
  return { seconds: messageSeconds(bytes, ranks, link) + 30e-6, sentBytes: bytes * (ranks - 1) };
}
