/**
 * Memory that recorded plans share. What a plan makes on its way holds nothing between replays, so all plans of a kind
 * lie in one set of buffers, which is as large as the largest of them needs.
 */
import { STORAGE_USAGE, tfjsBackend } from "./backend.ts";
import { sumOf } from "./lifetimes.ts";
import { flush } from "./queue.ts";

export interface Arena {
  /** Makes sure that there is a buffer of at least each of these sizes, which fall. */
  fit(sizes: readonly number[]): void;
  /** The buffer for a plan's slot, once its sizes were fit. */
  buffer(slot: number): GPUBuffer;
  /** Gives the memory back; the plans stay, and have it again when they are replayed. */
  release(): void;
  /** Most bytes that it has taken. */
  mostBytes(): number;
  /** Most bytes that it can take, as long as no plan is larger than those it has seen. */
  limitBytes(): number;
  /** A plan goes on in it, or has ended: after the last one the memory is given back. */
  enter(): void;
  leave(): void;
}

let moves = 0;

/** Counts how often buffers have been moved under tensors that plans may have been recorded over. */
export function bufferMoves(): number {
  return moves;
}

export function noteBufferMove(): void {
  moves++;
}

/** The larger of each two sizes, place by place; both fall, and so does what comes out. */
function unionOf(a: readonly number[], b: readonly number[]): number[] {
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, i) => Math.max(a[i] ?? 0, b[i] ?? 0));
}

/**
 * @param slack what it may take beside the largest plan, as a share of that: so that plans of other proportions fit in
 *   together. Where they do not, the arena is made anew for each, which takes no recording.
 */
export function createArena(slack = 0): Arena {
  let buffers: GPUBuffer[] = [];
  let [plans, most, limit] = [0, 0, 0];
  const sizesNow = () => buffers.map(({ size }) => size);
  const become = (sizes: readonly number[]) => {
    flush(); // what is queued reads the old ones
    const old = buffers;
    const kept = sizes.map((size) => {
      const i = old.findIndex((buffer) => buffer.size === size);
      return i < 0 ? null : old.splice(i, 1)[0];
    });
    for (const buffer of old) buffer.destroy();
    const { device } = tfjsBackend();
    buffers = kept.map((buffer, i) =>
      buffer ?? device.createBuffer({ size: sizes[i], usage: STORAGE_USAGE })
    );
    moves++;
  };
  const release = () => {
    if (buffers.length > 0) become([]);
  };
  return {
    fit(sizes) {
      const now = sizesNow();
      limit = Math.max(limit, sumOf(sizes) * (1 + slack));
      if (sizes.every((size, i) => size <= (now[i] ?? 0))) return;
      const union = unionOf(now, sizes);
      become(sumOf(union) <= limit ? union : sizes);
      most = Math.max(most, sumOf(sizesNow()));
    },
    buffer: (slot) => buffers[slot],
    release,
    mostBytes: () => most,
    limitBytes: () => limit,
    enter: () => void plans++,
    leave() {
      if (--plans === 0) release();
    },
  };
}
