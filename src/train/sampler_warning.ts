/** Looks at whether sampling and training agree where they ought to. */
import type { MetricRow } from "../tracking/metrics.ts";

/**
 * Says once that the sampler's log-probs are not the trainer's.
 * @param isQuiet nothing is said: the settings have sampling round what training does not, or another rank says it
 */
export function samplerWarning(
  isQuiet: boolean,
  onMessage: (text: string) => void,
): (row: MetricRow) => void {
  let isDue = !isQuiet;
  return ({ step, "sampler/logprob_diff_max": most = 0 }) => {
    if (!isDue || most === 0) return;
    isDue = false;
    const off = most.toExponential(1);
    onMessage(
      `Warning: at step ${step} the sampler's log-probs are ${off} nats off the trainer's, ` +
        "where both should be the same bits",
    );
  };
}
