/** Log-probs under the reference policy, which an update is held against anyway, for those who keep completions. */
import { beginRead } from "../gpu/tensors.ts";
import type { PreparedUpdate } from "./prepared_update.ts";
import type { Rollout } from "./rollout.ts";

/** What is on its way from the GPU. */
export interface PendingLogprobs {
  /** Of each rollout's tokens, nats; null without a reference policy. */
  values(): Promise<number[][] | null>;
}

/**
 * Begins to read them, which waits for nothing: they come with what the update logs.
 * @param rollouts that were prepared, in their own order
 */
export function beginReference(
  { order, steps }: PreparedUpdate,
  rollouts: readonly Pick<Rollout, "tokens">[],
): PendingLogprobs {
  const batches = steps.flatMap(({ batches }) => batches);
  const reads = batches.flatMap(({ refLogprobs }) => refLogprobs ? [beginRead(refLogprobs)] : []);
  return {
    async values() {
      const read = await Promise.all(reads.map((one) => one.values()));
      if (read.length === 0) return null;
      const size = order.length / read.length;
      const values: number[][] = [];
      read.forEach((ofBatch, b) => {
        let first = 0;
        for (const place of order.subarray(b * size, (b + 1) * size)) {
          values[place] = Array.from(ofBatch.subarray(first, first += rollouts[place].tokens.length));
        }
      });
      return values;
    },
  };
}
