/** One generation batch, read from top to bottom: sample, score, lambda, advantages and updates. */
import type { BatchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import { enterPhase, unlessGpuFails } from "../gpu/failure.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherNumbers, gatherTexts } from "../parallel/gather.ts";
import type { GenerationProgress, Generator } from "../policy/decode/generate.ts";
import { correctsSampler } from "../policy/precision.ts";
import type { LambdaState } from "../rl/lambda.ts";
import { LOSS_TYPES } from "../rl/loss_types.ts";
import { type EntropyControl, hasEntropyBonus } from "../rl/entropy.ts";
import { samplerMetrics } from "../rl/sampler_weights.ts";
import { learningRate } from "../rl/schedules.ts";
import type { ScoreJournal, Scorer, ScorerStats } from "../scorer/protocol.ts";
import type { StepRecord } from "../tracking/metrics.ts";
import type { Texts } from "../tracking/samples.ts";
import { scoreEarly } from "./early_scoring.ts";
import type { Learner } from "./learner.ts";
import { disposeUpdate, prepareUpdate } from "./prepared_update.ts";
import type { Prompt } from "./prompts.ts";
import { sliceOfRank } from "./rank_slice.ts";
import { beginReference } from "./reference_logprobs.ts";
import { type Rollout, sampleRollouts } from "./rollout.ts";
import { type SkippedUpdate, updatePolicy } from "./update.ts";
import { weighScores } from "./weighed_scores.ts";

export interface GenerationBatchDeps {
  config: RunConfig;
  learner: Learner;
  generator: Pick<Generator, "generate">;
  tokenizer: Tokenizer;
  prompts: readonly Prompt[];
  scorer: Scorer;
  /** Scores that a run before this one was given for the same. */
  journal?: ScoreJournal;
  communicator: Communicator;
  shape: BatchShape;
  totalSteps: number;
  /** How far the sampling of completions is, at every read-back. */
  onGenerating?(progress: GenerationProgress): void;
}

/** What a generation batch leaves to the next. */
export interface Progress {
  /** Optimizer steps done. */
  step: number;
  /** One of each cost, this rank's: the same on all, but with `lambda_scope: rank`. */
  lambdas: readonly LambdaState[];
  /** Of every rank, where each has its own; else null. */
  rankLambdas: readonly (readonly LambdaState[])[] | null;
  /** Prompt and completion tokens seen, on all ranks. */
  numTokens: number;
  /** Of an entropy bonus that adapts; null where none does. */
  entropyControl: EntropyControl | null;
}

/** The same on every rank, but for the times, and for lambda where each has its own. */
export interface GenerationBatchOutcome {
  progress: Progress;
  record: StepRecord;
  /** Of the record's completions. */
  texts: Texts;
  /** This rank's, in the order of the record's completions. */
  rollouts: readonly Rollout[];
  /** Of each of its tokens under the reference policy; null without one, or where not every completion is kept. */
  refLogprobs: readonly (readonly number[])[] | null;
  /** Optimizer steps that were not made. */
  skipped: readonly SkippedUpdate[];
}

const secondsSince = (begin: number) => (performance.now() - begin) / 1000;
const sumOf = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/**
 * Samples, scores and trains on the next generation batch: optimizer step `progress.step + 1`, and those that follow
 * on the same completions.
 * @throws ScorerUnavailableError or ScorerContractError when the scorer does, before anything has changed
 * @throws GpuError when the GPU fails, also while the scorer is waited for
 * @throws NonfinitePolicyError when logits are NaN or infinite, before anything has changed
 */
export async function trainOnGenerationBatch(
  deps: GenerationBatchDeps,
  progress: Progress,
): Promise<GenerationBatchOutcome> {
  const { config, communicator, shape } = deps;
  const { promptsPerGeneration, updatesPerGeneration } = shape;
  const step = progress.step + 1;
  const began = performance.now();

  enterPhase("sampling completions");
  const generation = progress.step / updatesPerGeneration;
  const decode = deps.tokenizer.decode;
  deps.scorer.takeStats?.(); // of an evaluation before
  const scoring = scoreEarly(deps.scorer, {
    batchSize: config.scorer_batch_size,
    step,
    decode,
    journal: deps.journal,
  });
  // One on this GPU would take its memory while the KV cache has it.
  const isElsewhere = !deps.scorer.sharesGpu;
  const rollouts = await sampleRollouts(deps.generator, deps.tokenizer, {
    ...sliceOfRank(deps, generation),
    config,
    step,
    onProgress: deps.onGenerating,
    onGroup: isElsewhere ? scoring.add : undefined,
  });
  if (!isElsewhere) scoring.add(rollouts, 0);
  const generateSeconds = secondsSince(began);

  const waiting = performance.now();
  const prepare = () => {
    enterPhase("the passes of the reference policy");
    return prepareUpdate(deps.learner, rollouts, step, updatesPerGeneration, config);
  };
  const prepared = isElsewhere ? prepare() : null;
  enterPhase("scoring");
  const scores = await unlessGpuFails(scoring.finish()).catch((error) => {
    if (prepared) disposeUpdate(prepared);
    throw error;
  });
  const scoreSeconds = secondsSince(waiting);

  const weighed = await weighScores(deps, scores, progress.lambdas);
  const { lambdas, records, rankLambdas, combined, terms, rewards, costs, named } = weighed;
  const asked = await gatherStats(communicator, deps.scorer.takeStats?.());

  const updating = performance.now();
  const schedule = { ...config, total_steps: deps.totalSteps };
  const learningRates = Array.from(
    { length: updatesPerGeneration },
    (_, update) => learningRate(progress.step + update, schedule),
  );
  const { entropyControl: before } = progress;
  const update = {
    combined,
    terms,
    learningRates,
    entropyControl: before ?? undefined,
    config,
    communicator,
  };
  const batch = prepared ?? prepare();
  enterPhase("the update");
  const reference = config.log_completions === "all" ? beginReference(batch, rollouts) : null;
  const { skipped, entropyControl, ...means } = await updatePolicy(deps.learner, batch, update);
  const refLogprobs = await reference?.values() ?? null;
  // Of steps none of which was made there is nothing to tell but that.
  const stats = skipped.length < updatesPerGeneration ? means : null;
  const updateSeconds = secondsSince(updating);

  const { tokens, ...counts } = await countRollouts(communicator, rollouts);
  const numTokens = progress.numTokens + tokens;
  const lastStep = progress.step + updatesPerGeneration;
  const record: StepRecord = {
    step: lastStep,
    optimizerSteps: updatesPerGeneration,
    epoch: (generation + 1) * promptsPerGeneration / deps.prompts.length,
    numTokens,
    numGenerations: config.num_generations,
    scaleRewards: config.scale_rewards,
    rewards,
    costs,
    combined,
    named,
    terms,
    lambdas: records,
    ...counts,
    loss: stats?.loss,
    gradNorm: stats?.gradNorm,
    nonfiniteSteps: skipped.length,
    learningRate: learningRates[learningRates.length - 1],
    kl: config.beta === 0 ? undefined : stats?.kl,
    entropy: stats?.entropy,
    entropyBonus: stats && hasEntropyBonus(config)
      ? { policyLoss: stats.policyLoss, coef: entropyControl.coef }
      : undefined,
    samplerMetrics: stats && rollouts.every(({ logprobs }) => logprobs !== null)
      ? samplerMetrics(stats.sampler, correctsSampler(config))
      : undefined,
    clipMetrics: stats ? LOSS_TYPES[config.loss_type].policyTerm.clipMetrics(stats) : undefined,
    asked,
    stepSeconds: secondsSince(began),
    phaseSeconds: { generate: generateSeconds, score: scoreSeconds, update: updateSeconds },
  };
  return {
    progress: {
      step: lastStep,
      lambdas,
      rankLambdas,
      numTokens,
      entropyControl: config.use_adaptive_entropy ? entropyControl : null,
    },
    record,
    texts: {
      prompts: await gatherTexts(communicator, rollouts.map(({ prompt }) => prompt.user)),
      completions: await gatherTexts(communicator, rollouts.map(({ text }) => text)),
    },
    rollouts,
    refLogprobs,
    skipped,
  };
}

/** How asking went on all ranks, whose scorers are of the same kind. */
async function gatherStats(
  communicator: Communicator,
  own: ScorerStats | undefined,
): Promise<StepRecord["asked"]> {
  if (own === undefined) return undefined;
  const counts = [own.retries, own.waitSeconds, own.told, own.cut];
  const all = await gatherNumbers(communicator, counts);
  const [retries, waits, told, cut] = counts.map((_, i) => all.filter((_, at) => at % counts.length === i));
  return {
    retries: sumOf(retries),
    waitSeconds: Math.max(...waits),
    cutFraction: sumOf(told) === 0 ? undefined : sumOf(cut) / sumOf(told),
  };
}

/** What is logged of the rollouts of all ranks, and the tokens of their prompts and completions. */
async function countRollouts(communicator: Communicator, rollouts: readonly Rollout[]) {
  const allOf = (count: (rollout: Rollout) => number) => gatherNumbers(communicator, rollouts.map(count));
  const countOf = async (isCounted: (rollout: Rollout) => boolean) =>
    sumOf(await allOf((rollout) => Number(isCounted(rollout))));
  const completionLengths = await allOf(({ tokens }) => tokens.length);
  return {
    tokens: sumOf(completionLengths) + sumOf(await allOf(({ prompt }) => prompt.ids.length)),
    completionLengths,
    terminated: (await allOf(({ end }) => Number(end !== "length"))).map((isTerminated) =>
      isTerminated === 1
    ),
    hallucinatedTurns: await countOf(({ hallucinatedTurn }) => hallucinatedTurn),
    truncatedPrompts: await countOf(({ prompt }) => prompt.truncated),
  };
}
