/** The members of an iteration: the policy with noise on its weights, how they answer, and how the policy moves. */
import type { RunConfig } from "../../config/sweep.ts";
import type { Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import type { Share } from "../../parallel/communicator.ts";
import type { GenerationOptions, GenerationProgress, Generator } from "../../policy/decode/generate.ts";
import { greedyOptions } from "../../policy/decode/options.ts";
import type { Policy } from "../../policy/trunk.ts";
import type { Member, NoiseTerm } from "../../rl/es.ts";
import type { Prompt } from "../prompts.ts";
import { type Rollout, sampleRollouts } from "../rollout.ts";

export interface MembersRequest {
  /** What every member answers, greedily. */
  prompts: readonly Prompt[];
  onProgress?(progress: GenerationProgress): void;
  /** A member's rollouts, as soon as all of them have ended. @param n its place among all members */
  onMember?(rollouts: Rollout[], n: number): void;
}

/** What a kind of noise does. An iteration calls each once, in this order, on every rank. */
export interface Population {
  /** Whether members leave the policy as it was, to the bit. */
  readonly isUndone: boolean;
  /**
   * Rollouts of the members of `share`, member by member, one of each prompt. The policy is afterwards as it was
   * before, or as noise that cannot be undone to the bit leaves it on every rank.
   * @param members all of the iteration's, of all ranks
   * @param share places of those that this rank answers for; none where an iteration is only done again
   */
  rollouts(members: readonly Member[], share: Share, request: MembersRequest): Promise<Rollout[][]>;
  /** Greedy rollouts of the policy itself, in the order of the prompts. */
  ownRollouts(request: Omit<MembersRequest, "onMember">): Promise<Rollout[]>;
  /** theta = theta + sum_n coefficient_n eps(seed_n). @param terms of `updateTerms` */
  update(terms: readonly NoiseTerm[]): void;
  dispose(): void;
}

export interface PopulationDeps {
  policy: Policy;
  tokenizer: Tokenizer;
  config: RunConfig;
}

/** How members answer: greedily, in a cache that a memory plan has counted. */
export const memberOptions = (policy: Policy, config: RunConfig): GenerationOptions => ({
  ...greedyOptions(policy, config),
  reservesCache: true,
});

/** Greedy rollouts of the policy as its weights are, some prompts at a time. */
export function ownRolloutsBy(
  generator: Pick<Generator, "generate">,
  { tokenizer, config }: PopulationDeps,
): Population["ownRollouts"] {
  return async ({ prompts, onProgress }) => {
    const rollouts: Rollout[] = [];
    for (let first = 0; first < prompts.length; first += config.eval_batch_size) {
      const request = {
        prompts: prompts.slice(first, first + config.eval_batch_size),
        config: { ...config, num_generations: 1 },
        step: 0, // greedy: no random number is drawn
        firstPrompt: 0,
        onProgress,
      };
      rollouts.push(...await sampleRollouts(generator, tokenizer, request));
    }
    return rollouts;
  };
}
