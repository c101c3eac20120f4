/** Entropy in the loss: which tokens are trained on by it (arXiv:2506.01939), and how much of it is wanted. */

/**
 * Entropy at or above which a token is trained on: the quantile 1 - `keptShare` of the entropies, interpolated
 * linearly, in f32 as torch.quantile does, which TRL asks.
 * @param entropies of all tokens that are in the loss, nats, in any order; left as they are
 * @param keptShare top_entropy_quantile, 0 (the highest alone) to 1 (all)
 * @returns Infinity where there are none
 */
export function entropyThreshold(entropies: Float32Array, keptShare: number): number {
  if (entropies.length === 0) return Infinity;
  const sorted = entropies.slice().sort();
  const { fround } = Math;
  const rank = fround(fround(1 - keptShare) * fround(sorted.length - 1));
  const below = Math.floor(rank);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  const weight = fround(rank - below);
  const gap = fround(high - low);
  return weight < 0.5 ? fround(low + fround(weight * gap)) : fround(high - fround(gap * fround(1 - weight)));
}

/** The config keys of the entropy bonus. */
export interface EntropyConfig {
  entropy_coef: number;
  use_adaptive_entropy: boolean;
  entropy_coef_min: number;
  entropy_coef_max: number;
  entropy_coef_delta: number;
  entropy_target: number;
}

/** What an optimizer step leaves of the adaptive bonus to the next. */
export interface EntropyControl {
  coef: number;
  /** Mean entropy of the step before, nats per token; null before the first. */
  lastEntropy: number | null;
}

/** Whether the loss has an entropy bonus. */
export const hasEntropyBonus = (
  { entropy_coef, use_adaptive_entropy }: Pick<EntropyConfig, "entropy_coef" | "use_adaptive_entropy">,
): boolean => entropy_coef !== 0 || use_adaptive_entropy;

/** Before the first step. */
export const initialEntropyControl = ({ entropy_coef }: EntropyConfig): EntropyControl => ({
  coef: entropy_coef,
  lastEntropy: null,
});

/** What the bonus of the coming step is multiplied by: nothing while the entropy of the step before is above target. */
export function appliedEntropyCoef(control: EntropyControl, config: EntropyConfig): number {
  if (!config.use_adaptive_entropy) return config.entropy_coef;
  const { lastEntropy, coef } = control;
  return lastEntropy !== null && lastEntropy <= config.entropy_target ? coef : 0;
}

/** After an optimizer step of this mean entropy (arXiv:2505.22312). */
export function nextEntropyControl(
  control: EntropyControl,
  entropy: number,
  config: EntropyConfig,
): EntropyControl {
  if (!config.use_adaptive_entropy) return control;
  const { entropy_coef_delta: delta, entropy_coef_min: least, entropy_coef_max: most } = config;
  const coef = entropy <= config.entropy_target
    ? Math.min(control.coef + delta, most)
    : Math.max(control.coef - delta, least);
  return { coef, lastEntropy: entropy };
}
