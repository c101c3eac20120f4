/** One generation batch, read from top to bottom: sample, score, lambda, advantages and updates. */
import type { BatchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { Communicator } from "../parallel/communicator.ts";
import type { GenerationProgress, Generator } from "../policy/decode/generate.ts";
import { combineScores, type LambdaState, type LambdaUpdate, updateLambda } from "../rl/lambda.ts";
import { LOSS_TYPES } from "../rl/loss_types.ts";
import { promptsOfGeneration } from "../rl/rng.ts";
import { learningRate } from "../rl/schedules.ts";
import type { Scorer } from "../scorer/protocol.ts";
import type { StepRecord } from "../tracking/metrics.ts";
import { scoreEarly } from "./early_scoring.ts";
import type { Prompt } from "./prompts.ts";
import { type Rollout, sampleRollouts } from "./rollout.ts";
import type { Learner } from "./passes.ts";
import { prepareUpdate } from "./prepared_update.ts";
import { updatePolicy } from "./update.ts";

export interface StepDeps {
  config: RunConfig;
  learner: Learner;
  generator: Pick<Generator, "generate">;
  tokenizer: Tokenizer;
  prompts: readonly Prompt[];
  scorer: Scorer;
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
  lambda: LambdaState;
  /** Prompt and completion tokens seen. */
  numTokens: number;
}

export interface StepOutcome {
  progress: Progress;
  record: StepRecord;
  rollouts: Rollout[];
}

const secondsSince = (begin: number) => (performance.now() - begin) / 1000;

/** Mean over the completions of all ranks. */
async function meanOverRanks(communicator: Communicator, values: readonly number[]): Promise<number> {
  const [sum, count] = await communicator.allReduceSum([
    values.reduce((total, value) => total + value, 0),
    values.length,
  ]);
  return sum / count;
}

function assertFinite(name: string, value: number, step: number): void {
  if (Number.isFinite(value)) return;
  throw new RangeError(
    `Training diverged at step ${step}: ${name} is ${value}; the last checkpoint is good. Set a smaller learning_rate or max_grad_norm`,
  );
}

/**
 * Samples, scores and trains on the next generation batch: optimizer step `progress.step + 1`, and those that follow
 * on the same completions.
 * @throws ScorerUnavailableError or ScorerContractError from the scorer, before anything has changed
 * @throws RangeError when loss or gradient are not finite
 */
export async function trainStep(deps: StepDeps, progress: Progress): Promise<StepOutcome> {
  const { config, communicator, shape } = deps;
  const { promptsPerGeneration, updatesPerGeneration } = shape;
  const step = progress.step + 1;
  const began = performance.now();

  const generation = progress.step / updatesPerGeneration;
  const slots = promptsOfGeneration(generation, {
    promptCount: deps.prompts.length,
    promptsPerGeneration,
    seed: config.seed,
  });
  const share = promptsPerGeneration / communicator.size;
  const firstPrompt = communicator.rank * share;
  const prompts = slots.slice(firstPrompt, firstPrompt + share).map((index) => deps.prompts[index]);
  const scoring = scoreEarly(deps.scorer, config.scorer_batch_size);
  // One in this process would take this GPU's memory while the KV cache has it.
  const isElsewhere = config.scorer_url !== null;
  const rollouts = await sampleRollouts(deps.generator, deps.tokenizer, prompts, config, {
    step,
    firstPrompt,
  }, { onProgress: deps.onGenerating, onGroup: isElsewhere ? scoring.add : undefined });
  if (!isElsewhere) scoring.add(rollouts, 0);
  const generateSeconds = secondsSince(began);

  const waiting = performance.now();
  const prepare = () => prepareUpdate(deps.learner, rollouts, step, updatesPerGeneration, config);
  const prepared = isElsewhere ? prepare() : null;
  const { rewards, costs } = await scoring.finish();
  const scoreSeconds = secondsSince(waiting);

  const lambda = updateLambda(progress.lambda, await meanOverRanks(communicator, costs), config);
  const combined = combineScores(rewards, costs, lambda.lambda);

  const updating = performance.now();
  const schedule = { ...config, total_steps: deps.totalSteps };
  const rates = Array.from(
    { length: updatesPerGeneration },
    (_, update) => learningRate(progress.step + update, schedule),
  );
  const stats = await updatePolicy(deps.learner, prepared ?? prepare(), combined, rates, config);
  assertFinite("the loss", stats.loss, step);
  assertFinite("the gradient norm", stats.gradNorm, step);
  const updateSeconds = secondsSince(updating);

  const tokens = rollouts.reduce((sum, { prompt, tokens }) => sum + prompt.ids.length + tokens.length, 0);
  const numTokens = progress.numTokens + tokens;
  const { j: _j, jRaw: _jRaw, ...lambdaState } = lambda;
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
    combined: Array.from(combined),
    lambda: lambdaMetrics(lambda, config),
    ...countRollouts(rollouts),
    loss: stats.loss,
    gradNorm: stats.gradNorm,
    learningRate: rates[rates.length - 1],
    kl: config.beta === 0 ? undefined : stats.kl,
    entropy: stats.entropy,
    clipMetrics: LOSS_TYPES[config.loss_type].policyTerm.clipMetrics(stats),
    stepSeconds: secondsSince(began),
    phaseSeconds: { generate: generateSeconds, score: scoreSeconds, update: updateSeconds },
  };
  return { progress: { step: lastStep, lambda: lambdaState, numTokens }, record, rollouts };
}

function lambdaMetrics(lambda: LambdaUpdate, config: RunConfig): StepRecord["lambda"] {
  return {
    value: lambda.lambda,
    jc: lambda.j,
    jcRaw: lambda.jRaw,
    jcEma: lambda.jEma ?? lambda.j,
    d: config.cost_threshold_d,
  };
}

function countRollouts(rollouts: readonly Rollout[]) {
  const countOf = (isCounted: (rollout: Rollout) => boolean) => rollouts.filter(isCounted).length;
  return {
    completionLengths: rollouts.map(({ tokens }) => tokens.length),
    terminated: rollouts.map(({ end }) => end !== "length"),
    hallucinatedTurns: countOf(({ hallucinatedTurn }) => hallucinatedTurn),
    truncatedPrompts: countOf(({ prompt }) => prompt.truncated),
  };
}
