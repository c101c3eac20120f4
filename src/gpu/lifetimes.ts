/** Which tensors of a recorded plan can lie in the same memory, one after the other. No GPU here. */

/** Dispatches of a plan, from its first that uses a tensor to its last. */
export interface Lifetime {
  sizeBytes: number;
  /** -1: it is written before the plan begins. */
  first: number;
  /** Infinity: it is read after the plan's end. */
  last: number;
}

/** Memory in slots, each for tensors that live one after the other. */
export interface SharedSlots {
  /** Slot of each tensor. */
  slotOf: number[];
  /** Bytes of each slot, falling. */
  sizes: number[];
}

export const sumOf = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0);

interface Slot {
  sizeBytes: number;
  /** Of the tensors in it, in the order of their time. */
  spans: Lifetime[];
}

/** Where in a slot's spans one fits in; null where it meets another. */
function placeIn({ spans }: Slot, { first, last }: Lifetime): number | null {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].first <= first) low = middle + 1;
    else high = middle;
  }
  const isFree = (low === 0 || spans[low - 1].last < first) &&
    (low === spans.length || spans[low].first > last);
  return isFree ? low : null;
}

/**
 * Gives every tensor a slot, the largest first, each the smallest that is free as long as it lives (greedy by size,
 * arXiv:2001.03288, 4.2).
 */
export function shareSlots(lifetimes: readonly Lifetime[]): SharedSlots {
  const slots: Slot[] = [];
  const slotOf: number[] = new Array(lifetimes.length);
  const order = lifetimes.map((_, i) => i).sort((a, b) =>
    lifetimes[b].sizeBytes - lifetimes[a].sizeBytes || lifetimes[a].first - lifetimes[b].first
  );
  for (const i of order) {
    const own = lifetimes[i];
    let [slot, place] = [slots.length, 0];
    for (let s = slots.length - 1; s >= 0; s--) {
      const free = placeIn(slots[s], own);
      if (free === null) continue;
      [slot, place] = [s, free];
      break;
    }
    if (slot === slots.length) slots.push({ sizeBytes: own.sizeBytes, spans: [] });
    slots[slot].spans.splice(place, 0, own);
    slotOf[i] = slot;
  }
  return { slotOf, sizes: slots.map(({ sizeBytes }) => sizeBytes) };
}

/** How unhurried memory is used again. */
export interface Rest {
  /** That a slot rests between two tensors. */
  dispatches: number;
  /** What that may cost, as a share of all and in bytes: the larger counts. */
  share: number;
  bytes: number;
}

/**
 * As shareSlots, but a slot rests for some dispatches before it is written again: a GPU that goes through its buffers
 * one after the other would wait there for whoever reads the old. Not where that takes more memory than it may.
 */
export function shareSlotsApart(
  lifetimes: readonly Lifetime[],
  { dispatches, share, bytes }: Rest,
): SharedSlots {
  const close = shareSlots(lifetimes);
  if (dispatches === 0) return close;
  const apart = shareSlots(lifetimes.map((each) => ({ ...each, last: each.last + dispatches })));
  const most = sumOf(close.sizes) + Math.max(bytes, share * sumOf(close.sizes));
  return sumOf(apart.sizes) <= most ? apart : close;
}
