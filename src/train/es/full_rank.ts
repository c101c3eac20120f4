/** A population of noise on every trained weight, whose members take turns on the policy. */
import { trainableWeights } from "../../policy/adapters.ts";
import { createGenerator } from "../../policy/decode/generate.ts";
import type { Rollout } from "../rollout.ts";
import { perturb } from "./perturbation.ts";
import { memberOptions, ownRolloutsBy, type Population, type PopulationDeps } from "./population.ts";

/**
 * Noise on every trained weight, added in place for a member after the other.
 * @throws RangeError when weights are packed, or no numbers
 */
export async function fullRank(deps: PopulationDeps): Promise<Population> {
  const { policy, config } = deps;
  const perturbation = await perturb(trainableWeights(policy), config);
  const generator = createGenerator(policy, memberOptions(policy, config));
  const ownRollouts = ownRolloutsBy(generator, deps);
  return {
    isUndone: perturbation.isUndone,
    async rollouts(members, { start, end }, { onMember, ...request }) {
      const answered: Rollout[][] = [];
      for (const [n, { seed, sign }] of members.entries()) {
        const isOwn = start <= n && n < end;
        if (!isOwn && perturbation.isUndone) continue;
        const coefficient = sign * config.es_sigma;
        perturbation.add([{ seed, coefficient }]);
        try {
          if (isOwn) answered.push(await ownRollouts(request));
        } finally {
          perturbation.add([{ seed, coefficient: -coefficient }]);
        }
        if (isOwn) onMember?.(answered.at(-1)!, n);
      }
      return answered;
    },
    ownRollouts,
    update: (terms) => perturbation.update(terms),
    dispose: () => generator.dispose(),
  };
}
