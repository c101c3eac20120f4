/** A population of low-rank perturbations (EGGROLL, arXiv:2511.16652), whose members decode side by side in a batch. */
import { createGenerator } from "../../policy/decode/generate.ts";
import { greedyOptions } from "../../policy/decode/options.ts";
import { createPerturbations, moveByPerturbations } from "../../policy/perturbations.ts";
import type { Member } from "../../rl/es.ts";
import { type Rollout, sampleRollouts } from "../rollout.ts";
import { type MembersRequest, ownRolloutsBy, type Population, type PopulationDeps } from "./population.ts";

/** Members whose rollouts are made in one batch: all of a rank's unless `es_members_at_once` says fewer. */
export function membersAtOnce(
  { es_members_at_once }: { es_members_at_once: number | null },
  ofRank: number,
): number {
  return Math.max(1, Math.min(es_members_at_once ?? ofRank, ofRank));
}

/**
 * Perturbations of rank `es_rank` on the matrices of all layers: made for some members at a time, whose answers to all
 * prompts are the rows of one batch. Weights are never touched but by the update.
 * @param mostMembers that this rank answers for in an iteration
 * @throws RangeError when the factors are too large for the GPU
 */
export function lowRank(
  deps: PopulationDeps & { rank: number; mostMembers: number },
): Population {
  const { policy, tokenizer, config, rank, mostMembers } = deps;
  const atOnce = membersAtOnce(config, mostMembers);
  const perturbations = createPerturbations(policy.weights, rank, atOnce);
  const options = { ...greedyOptions(policy, config), reservesCache: true, perturbations };
  const generator = createGenerator(policy, options);

  /** Rollouts of members first, first + 1 ... */
  async function together(
    members: readonly Member[],
    first: number,
    { prompts, onProgress, onMember }: MembersRequest,
  ): Promise<Rollout[][]> {
    perturbations.make(
      members.map(({ seed, sign }) => ({ seed, coefficient: sign * config.es_sigma })),
    );
    const answered = members.map((): Rollout[] => []);
    const left = members.map(() => prompts.length);
    await sampleRollouts(generator, tokenizer, {
      prompts: members.flatMap(() => prompts),
      members: members.flatMap((_, slot) => prompts.map(() => slot)),
      config: { ...config, num_generations: 1 },
      step: 0, // greedy: no random number is drawn
      firstPrompt: 0,
      onProgress,
      onGroup([rollout], place) {
        const slot = Math.floor(place / prompts.length);
        answered[slot][place % prompts.length] = rollout;
        if (--left[slot] === 0) onMember?.(answered[slot], first + slot);
      },
    });
    return answered;
  }

  return {
    async rollouts(members, { start, end }, request) {
      const answered: Rollout[][] = [];
      for (let first = start; first < end; first += atOnce) {
        answered.push(...await together(members.slice(first, Math.min(first + atOnce, end)), first, request));
      }
      return answered;
    },
    ownRollouts: ownRolloutsBy(generator, deps),
    update: (terms) => moveByPerturbations(policy.weights, terms, rank),
    dispose() {
      generator.dispose();
      perturbations.dispose();
    },
  };
}
