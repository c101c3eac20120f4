/** `lambda_rule: one_shot`: lambda from scored completions of the policy that the run begins with. */
import { enterPhase, unlessGpuFails } from "../gpu/failure.ts";
import { gatherNumbers } from "../parallel/gather.ts";
import { dualLambda } from "../rl/lambda/dual.ts";
import { scoreEarly } from "./early_scoring.ts";
import type { GenerationBatchDeps, Progress } from "./generation_batch.ts";
import { sliceOfRank } from "./rank_slice.ts";
import { sampleRollouts } from "./rollout.ts";

/** Of steps of training, which count from 1: these completions are drawn apart from theirs. */
const STEP = 0;

/**
 * The run's beginning with that lambda in its state, from where checkpoints take it along.
 * Samples and scores the prompts of the first generation batches until `lambda_dual_prompts` have been, and solves the
 * dual over the scores of all ranks: the same bits on each, and however the completions are split.
 *
 * @throws ScorerUnavailableError or ScorerContractError when the scorer does
 * @throws GpuError when the GPU fails
 * @throws NonfinitePolicyError when logits are NaN or infinite
 */
export async function withOneShotLambda(
  deps: GenerationBatchDeps,
  start: Progress,
  onMessage: (text: string) => void,
): Promise<Progress> {
  const { config, communicator, scorer, shape } = deps;
  const rounds = Math.ceil(config.lambda_dual_prompts / shape.promptsPerGeneration);
  const rewards: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    enterPhase("sampling completions");
    const slice = sliceOfRank(deps, round);
    const rollouts = await sampleRollouts(deps.generator, deps.tokenizer, {
      ...slice,
      firstPrompt: slice.firstPrompt + round * shape.promptsPerGeneration,
      config,
      step: STEP,
      onProgress: deps.onGenerating,
    });
    enterPhase("scoring");
    const scoring = scoreEarly(scorer, {
      batchSize: config.scorer_batch_size,
      step: STEP,
      decode: deps.tokenizer.decode,
      journal: deps.journal,
    });
    scoring.add(rollouts, 0);
    const scores = await unlessGpuFails(scoring.finish());
    rewards.push(...await gatherNumbers(communicator, scores.rewards));
    costs.push(...await gatherNumbers(communicator, scores.costs));
  }
  const scored = { rewards, costs, groupSize: config.num_generations };
  const lambda = dualLambda(scored, { ...config, beta: config.lambda_dual_beta });
  const from = `${costs.length} completions of ${rounds * shape.promptsPerGeneration} prompts`;
  onMessage(
    lambda < config.lambda_max
      ? `lambda is ${lambda.toPrecision(4)}: the dual's solution over ${from}`
      : `Warning: lambda is lambda_max = ${lambda}: over ${from} no lambda up to it brings the mean cost to the ` +
        "limit; raise lambda_max or lambda_dual_beta, or take another lambda_rule",
  );
  return { ...start, lambdas: [{ ...start.lambdas[0], lambda }] };
}
