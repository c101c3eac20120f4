/** Several ranks in one process, on one GPU: trainers that run side by side, as in the tests. */
import { cameApart, hasLeft, kindOf, reasonText } from "./asked.ts";
import { allGather, allReduce, broadcast, reduceScatterSum } from "./collectives.ts";
import type { Communicator, Shareable } from "./communicator.ts";

/** One rank's part in a collective. */
interface Call {
  /** What it asks for; ranks that differ in it are not in the same collective. */
  text: string;
  values: Shareable | null;
  resolve(): void;
  reject(error: Error): void;
}

/** The calls of the ranks that have come to their n-th collective, by rank. */
type Meeting = Map<number, Call>;

/** @throws Error when not all of them ask for the same */
function assertAlike(meeting: Meeting, number: number): void {
  const [[firstRank, first], ...others] = [...meeting].sort(([a], [b]) => a - b);
  const other = others.find(([, { text }]) => text !== first.text);
  if (!other) return;
  throw cameApart(number, { rank: firstRank, text: first.text }, { rank: other[0], text: other[1].text });
}

/**
 * Communicators of `size` ranks, which wait for each other. Where they meet in different collectives, or one leaves,
 * every rank fails in the collective that it is in, or in its next one.
 * @throws RangeError when `size` is no whole number from 1
 */
export function inProcessRanks(size: number): Communicator[] {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new RangeError(`Cannot make ${size} ranks: need a whole number, 1 or more`);
  }
  /** Those that some ranks wait in, by number. */
  const meetings = new Map<number, Meeting>();
  const collectives = new Array<number>(size).fill(0);
  let failure: Error | null = null;

  function fail(error: Error): void {
    failure ??= error;
    for (const meeting of meetings.values()) meeting.forEach(({ reject }) => reject(failure!));
    meetings.clear();
  }

  /** @param run makes of the values of all ranks what the collective is for */
  async function meet(
    rank: number,
    text: string,
    values: Shareable | null,
    run: (all: Shareable[]) => void,
  ): Promise<void> {
    if (failure) throw failure;
    const number = ++collectives[rank];
    const meeting = meetings.get(number) ?? new Map<number, Call>();
    meetings.set(number, meeting);
    await new Promise<void>((resolve, reject) => {
      meeting.set(rank, { text, values, resolve, reject });
      try {
        assertAlike(meeting, number);
        if (meeting.size < size) return;
        if (values && size > 1) run(Array.from({ length: size }, (_, r) => meeting.get(r)!.values!));
        meetings.delete(number);
        meeting.forEach((call) => call.resolve());
      } catch (error) {
        fail(error as Error);
      }
    });
  }

  const communicatorOf = (rank: number): Communicator => {
    const over = (name: string, run: (all: Shareable[]) => void) => (values: Shareable) =>
      meet(rank, `${name} with ${kindOf(values)}`, values, run);
    return {
      rank,
      size,
      bytesSent: 0,
      allReduceSum: over("allReduceSum", (all) => allReduce(all, "sum")),
      allReduceMax: over("allReduceMax", (all) => allReduce(all, "max")),
      reduceScatterSum: (values, wire = "float32") =>
        over(`reduceScatterSum by ${wire}`, (all) => reduceScatterSum(all, wire))(values),
      allGather: over("allGather", allGather),
      broadcast: (values, root) => over(`broadcast from rank ${root}`, (all) => broadcast(all, root))(values),
      barrier: () => meet(rank, "barrier", null, () => {}),
      leave(reason) {
        fail(hasLeft(rank, reasonText(reason), reason));
      },
    };
  };
  return Array.from({ length: size }, (_, rank) => communicatorOf(rank));
}
