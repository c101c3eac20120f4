/** What holds for all ranks as soon as it does for one. */
import type { Communicator } from "./communicator.ts";

/** Whether `own` is true on any rank. */
export async function isOnAnyRank(communicator: Communicator, own: boolean): Promise<boolean> {
  const known = Int32Array.of(own ? 1 : 0);
  await communicator.allReduceMax(known);
  return known[0] === 1;
}
