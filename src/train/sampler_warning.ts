/** Looks at whether sampling and training agree where they ought to. */
import type { MetricRow } from "../tracking/metrics.ts";

/**
 * Says once that the sampler's log-probs are not the trainer's.
 * @param mayDiffer whether the settings have sampling round what training does not: then nothing is said
 */
export function samplerWarning(
  mayDiffer: boolean,
  onMessage: (text: string) => void,
): (row: MetricRow) => void {
  let isDue = !mayDiffer;
  return ({ step, "sampler/logprob_diff_max": most = 0 }) => {
    if (!isDue || most === 0) return;
    isDue = false;
    onMessage(
      `Warning: at step ${step} the sampler's log-probs are ${
        most.toExponential(1)
      } nats off the trainer's, ` +
        "where both should be the same bits",
    );
  };
}
