/** What one rank does before the others, which then find it done. */
import type { Communicator } from "./communicator.ts";

/**
 * Does `work` on rank 0, then on all others at once: a download, say, that they find in the cache. A rank that fails
 * leaves the others by what it throws.
 */
export async function rankZeroFirst<R>(communicator: Communicator, work: () => Promise<R>): Promise<R> {
  if (communicator.rank > 0) await communicator.barrier();
  const made = await work();
  if (communicator.rank === 0) await communicator.barrier();
  return made;
}
