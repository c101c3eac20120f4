/** A population of low-rank perturbations (EGGROLL, arXiv:2511.16652), whose members decode side by side in a batch. */
import type { RunConfig } from "../../config/sweep.ts";
import { createGenerator, type GenerationOptions, type Generator } from "../../policy/decode/generate.ts";
import {
  createPerturbations,
  type MemberPerturbations,
  moveByPerturbations,
} from "../../policy/perturbations.ts";
import type { Policy } from "../../policy/trunk.ts";
import type { Member } from "../../rl/es.ts";
import { type Rollout, sampleRollouts } from "../rollout.ts";
import {
  memberOptions,
  type MembersRequest,
  ownRolloutsBy,
  type Population,
  type PopulationDeps,
} from "./population.ts";

/** Members that decode in one batch: all of a rank's unless `es_members_at_once` says fewer. */
export function membersAtOnce(
  { es_population_size, es_members_at_once }: Pick<RunConfig, "es_population_size" | "es_members_at_once">,
  ranks: number,
): number {
  const ofRank = Math.ceil(es_population_size / ranks);
  return Math.min(es_members_at_once ?? ofRank, ofRank);
}

/** A generator for the members that decode in one batch, and their perturbations. */
export interface MemberGenerator {
  generator: Generator;
  perturbations: MemberPerturbations;
}

/** @throws RangeError when the factors are more than the GPU binds */
export function memberGenerator(
  policy: Policy,
  config: RunConfig,
  { rank, members, ...options }: { rank: number; members: number } & Partial<GenerationOptions>,
): MemberGenerator {
  const perturbations = createPerturbations(policy.weights, rank, members);
  const generator = createGenerator(policy, { ...memberOptions(policy, config), ...options, perturbations });
  return { generator, perturbations };
}

/** Which member answers a prompt, of members that answer all of them one after the other. */
export const slotsOf = (members: number, prompts: number): number[] =>
  Array.from({ length: members * prompts }, (_, row) => Math.floor(row / prompts));

/**
 * Perturbations of rank `rank` on the matrices of all layers: made for some members at a time, whose answers to all
 * prompts are the rows of one batch. Nothing but the update writes a weight.
 * @param ranks that share the members out
 * @throws RangeError when the factors are more than the GPU binds
 */
export function lowRank(deps: PopulationDeps, rank: number, ranks: number): Population {
  const { policy, tokenizer, config } = deps;
  const atOnce = membersAtOnce(config, ranks);
  // Not where iterations are only done again.
  let opened: MemberGenerator | null = null;
  const open = () => opened ??= memberGenerator(policy, config, { rank, members: atOnce });

  /** Rollouts of members first, first + 1 ... */
  async function together(
    members: readonly Member[],
    first: number,
    { prompts, onProgress, onMember }: MembersRequest,
  ): Promise<Rollout[][]> {
    const { generator, perturbations } = open();
    perturbations.make(members.map(({ seed, sign }) => ({ seed, coefficient: sign * config.es_sigma })));
    const answered = members.map((): Rollout[] => []);
    const left = members.map(() => prompts.length);
    await sampleRollouts(generator, tokenizer, {
      prompts: members.flatMap(() => prompts),
      members: slotsOf(members.length, prompts.length),
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
    isUndone: true,
    async rollouts(members, { start, end }, request) {
      const answered: Rollout[][] = [];
      for (let first = start; first < end; first += atOnce) {
        answered.push(...await together(members.slice(first, Math.min(first + atOnce, end)), first, request));
      }
      return answered;
    },
    ownRollouts: (request) => ownRolloutsBy(open().generator, deps)(request),
    update: (terms) => moveByPerturbations(policy.weights, terms, rank),
    dispose() {
      opened?.generator.dispose();
      opened?.perturbations.dispose();
    },
  };
}
