/**
 * One iteration of evolution strategies, read from top to bottom: members answer, the policy itself answers, scores,
 * fitness, update, lambda. Lambda is used first and updated after the step, from the policy's own costs, where GRPO
 * updates it before use. Over ranks only scores, fitness and counts travel, and texts that are shown.
 */
import { enterPhase, unlessGpuFails } from "../../gpu/failure.ts";
import { settle } from "../../gpu/queue.ts";
import { gatherTexts } from "../../parallel/gather.ts";
import { type Share, shareOf } from "../../parallel/communicator.ts";
import { fitnessOf, membersOf, type NoiseTerm, updateTerms } from "../../rl/es.ts";
import { combineScores, updateLambda, weighedCosts } from "../../rl/lambda.ts";
import { promptsOfGeneration } from "../../rl/rng.ts";
import type { Scores } from "../../scorer/protocol.ts";
import type { EsRecord } from "../../tracking/es_metrics.ts";
import type { Texts } from "../../tracking/samples.ts";
import { scoreEarly } from "../early_scoring.ts";
import { gatherStats, type GenerationBatchDeps, type Progress, secondsSince } from "../generation_batch.ts";
import type { Rollout } from "../rollout.ts";
import { lambdaRecord, stateOf } from "../weighed_scores.ts";
import { countMembers, gatherNamed, lengthsAndEnds, meet } from "./gathered.ts";
import type { Population } from "./population.ts";

type OfBatch =
  | "config"
  | "tokenizer"
  | "prompts"
  | "scorer"
  | "journal"
  | "communicator"
  | "onGenerating";

export interface IterationDeps extends Pick<GenerationBatchDeps, OfBatch> {
  population: Population;
  /** Called before the first weight moves, and once the weights are those of the step. */
  onWeights(step: number | "moving"): void;
}

/** The same on every rank, but for the times. */
export interface IterationOutcome {
  progress: Progress;
  record: EsRecord;
  /** Of the unperturbed policy. */
  texts: Texts;
  /** What was added to the weights; null where a fitness was no number, and nothing was. */
  terms: readonly NoiseTerm[] | null;
}

const part = ({ rewards, costs, named }: Scores, from: number, to: number): Scores => ({
  rewards: rewards.slice(from, to),
  costs: costs.slice(from, to),
  named: named &&
    Object.fromEntries(Object.entries(named).map(([name, values]) => [name, values.slice(from, to)])),
});

/**
 * Makes iteration `progress.step + 1`.
 * @throws ScorerUnavailableError or ScorerContractError when the scorer does, before the update
 * @throws GpuError when the GPU fails, also while the scorer is waited for
 * @throws NonfinitePolicyError when logits of the policy or a member are NaN or infinite
 */
export async function iterate(deps: IterationDeps, progress: Progress): Promise<IterationOutcome> {
  const { config, communicator, population } = deps;
  const step = progress.step + 1;
  const began = performance.now();

  enterPhase("sampling completions");
  const count = Math.min(config.es_batch_size, deps.prompts.length);
  const order = { promptCount: deps.prompts.length, promptsPerGeneration: count, seed: config.seed };
  const prompts = promptsOfGeneration(progress.step, order).map((index) => deps.prompts[index]);
  const members = membersOf(step, config);
  const share = shareOf(members.length, communicator.rank, communicator.size);
  const own = shareOf(count, communicator.rank, communicator.size);
  deps.scorer.takeStats?.(); // of an evaluation before
  const scoring = scoreEarly(deps.scorer, {
    batchSize: config.scorer_batch_size,
    step,
    decode: deps.tokenizer.decode,
    journal: deps.journal,
  });
  // One on this GPU would take its memory while the KV cache has it.
  const isElsewhere = !deps.scorer.sharesGpu;
  const placeOf = (n: number) => (n - share.start) * count;
  const request = { prompts, onProgress: deps.onGenerating };
  if (!population.isUndone) deps.onWeights("moving");
  const rollouts = (await population.rollouts(members, share, {
    ...request,
    onMember: (made, n) => isElsewhere && scoring.add(made, placeOf(n)),
  })).flat();
  if (!isElsewhere) scoring.add(rollouts, 0);
  const ownRollouts = await population.ownRollouts({
    ...request,
    prompts: prompts.slice(own.start, own.end),
  });
  scoring.add(ownRollouts, rollouts.length);
  const generateSeconds = secondsSince(began);

  const waiting = performance.now();
  enterPhase("scoring");
  const scores = await unlessGpuFails(scoring.finish());
  const scoreSeconds = secondsSince(waiting);

  const ofMembers = part(scores, 0, rollouts.length);
  const ofPolicy = part(scores, rollouts.length, scores.rewards.length);
  const [{ lambda: lambdaBefore }] = progress.lambdas; // es has one cost
  const ownFitness = Array.from({ length: share.end - share.start }, (_, i) => {
    const { rewards, costs } = part(ofMembers, i * count, (i + 1) * count);
    return fitnessOf(rewards, costs, lambdaBefore, config, weighedCosts(costs, config));
  });
  const exchanging = performance.now();
  const fitness = await meet(communicator, ownFitness, share.start, members.length);
  const exchangeSeconds = secondsSince(exchanging);

  const updating = performance.now();
  enterPhase("the update");
  const terms = updateTerms(members, fitness, config.es_alpha);
  deps.onWeights("moving");
  population.update(terms ?? []);
  await settle();
  deps.onWeights(step);
  const updateSeconds = secondsSince(updating);

  const spread: Share = { start: share.start * count, end: share.end * count };
  const total = members.length * count;
  const policyRewards = await meet(communicator, ofPolicy.rewards, own.start, count);
  const policyCosts = await meet(communicator, ofPolicy.costs, own.start, count);
  const lambda = updateLambda(progress.lambdas[0], { costs: policyCosts }, config);
  const { tokens, ...counts } = await countMembers(communicator, rollouts, ownRollouts, { spread, total });
  const numTokens = progress.numTokens + tokens;
  const record: EsRecord = {
    step,
    epoch: step * count / deps.prompts.length,
    numTokens,
    rewards: await meet(communicator, ofMembers.rewards, spread.start, total),
    costs: await meet(communicator, ofMembers.costs, spread.start, total),
    named: await gatherNamed(communicator, ofMembers.named, spread, total),
    fitness,
    unperturbed: {
      rewards: policyRewards,
      costs: policyCosts,
      combined: Array.from(combineScores(policyRewards, weighedCosts(policyCosts, config), lambdaBefore)),
      ...await lengthsAndEnds(communicator, ownRollouts, own.start, count),
    },
    lambdas: [lambdaRecord(null, lambda, config)],
    ...counts,
    nonfiniteSteps: terms === null ? 1 : 0,
    asked: await gatherStats(communicator, deps.scorer.takeStats?.()),
    stepSeconds: secondsSince(began),
    phaseSeconds: { generate: generateSeconds, score: scoreSeconds, update: updateSeconds },
    updateSeconds,
    exchangeSeconds,
  };
  return {
    progress: { step, lambdas: [stateOf(lambda)], rankLambdas: null, numTokens, entropyControl: null },
    record,
    texts: await textsOf(deps, ownRollouts),
    terms,
  };
}

async function textsOf({ communicator }: IterationDeps, rollouts: readonly Rollout[]): Promise<Texts> {
  return {
    prompts: await gatherTexts(communicator, rollouts.map(({ prompt }) => prompt.user)),
    completions: await gatherTexts(communicator, rollouts.map(({ text }) => text)),
  };
}
