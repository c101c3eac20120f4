/** A reference policy that follows the one that is trained (TR-DPO, arXiv:2404.09656). */
import type { RunConfig } from "../config/sweep.ts";
import { mixWeight } from "../ops/weight/mix.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { listWeights } from "../policy/weights.ts";
import type { Learner } from "./learner.ts";

type SyncConfig = Pick<RunConfig, "sync_ref_model" | "ref_model_mixup_alpha" | "ref_model_sync_steps">;

/** What moves of the reference, in the order of the policy's weights; null where it stays. */
export function followingWeights(
  { reference }: Pick<Learner, "reference">,
  { sync_ref_model }: Pick<RunConfig, "sync_ref_model">,
): Weight[] | null {
  return sync_ref_model && reference ? listWeights(reference.weights) : null;
}

/**
 * reference = alpha policy + (1 - alpha) reference, if the optimizer step that was done is a
 * ref_model_sync_steps-th one. Every rank holds the whole policy, so that all of them make the same reference.
 */
export function syncReference(learner: Learner, config: SyncConfig): void {
  const following = followingWeights(learner, config);
  if (!following || learner.optimizer.updates % config.ref_model_sync_steps !== 0) return;
  const weights = listWeights(learner.policy.weights);
  following.forEach((weight, i) => mixWeight(weight, weights[i], config.ref_model_mixup_alpha));
}
