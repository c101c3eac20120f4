/** The `lr_scheduler_type` names of transformers that need no further arguments. */
export type LrSchedulerType =
  | "constant"
  | "constant_with_warmup"
  | "linear"
  | "cosine"
  | "cosine_with_restarts"
  | "polynomial"
  | "inverse_sqrt";

export interface ScheduleConfig {
  learning_rate: number;
  lr_scheduler_type: LrSchedulerType;
  warmup_steps: number;
  /** Optimizer steps of the whole run. */
  total_steps: number;
}

/** Where `polynomial` (power 1) ends, as in transformers. */
const POLYNOMIAL_END = 1e-7;

/** Time scale of `inverse_sqrt` when there is no warm-up, as in transformers. */
const INVERSE_SQRT_TIMESCALE = 10_000;

/**
 * Learning rate of optimizer step `step` (0 = the first). Each formula is the one `get_scheduler` of
 * transformers uses with its default arguments; w = warmup_steps, n = total_steps,
 * p = (step - w) / max(1, n - w):
 *
 *   warm-up (step < w)      lr * step / w          for every schedule but `constant`
 *   constant, constant_with_warmup                 lr
 *   linear                                         lr * max(0, (n - step) / (n - w))
 *   cosine                                         lr * (1 + cos(pi p)) / 2
 *   cosine_with_restarts    (one cycle)            the same, and 0 from p = 1 on
 *   polynomial              (power 1)              (lr - 1e-7) (1 - p) + 1e-7, and 1e-7 after n
 *   inverse_sqrt            s = w or 10000         lr / sqrt((step - w + s) / s)
 *
 * @throws RangeError when `polynomial` starts at or below the 1e-7 at which it ends.
 */
export function learningRate(step: number, config: ScheduleConfig): number {
  const { learning_rate: peak, lr_scheduler_type: type, warmup_steps: warmup, total_steps: total } = config;
  if (type === "constant") return peak;
  if (step < warmup) return peak * (step / warmup);
  const progress = (step - warmup) / Math.max(1, total - warmup);
  switch (type) {
    case "constant_with_warmup":
      return peak;
    case "linear":
      return peak * Math.max(0, (total - step) / Math.max(1, total - warmup));
    case "cosine":
      return peak * halfCosine(progress);
    case "cosine_with_restarts":
      return progress >= 1 ? 0 : peak * halfCosine(progress);
    case "polynomial":
      return polynomial(peak, Math.min(progress, 1));
    case "inverse_sqrt": {
      const timescale = warmup === 0 ? INVERSE_SQRT_TIMESCALE : warmup;
      return peak / Math.sqrt((step - warmup + timescale) / timescale);
    }
  }
}

function halfCosine(progress: number): number {
  return Math.max(0, (1 + Math.cos(Math.PI * progress)) / 2);
}

function polynomial(peak: number, progress: number): number {
  if (peak <= POLYNOMIAL_END) {
    throw new RangeError(
      `Cannot decay learning_rate = ${peak}: "polynomial" ends at ${POLYNOMIAL_END}; start above it`,
    );
  }
  return (peak - POLYNOMIAL_END) * (1 - progress) + POLYNOMIAL_END;
}
