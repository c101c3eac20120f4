/** Trains on one generation batch: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { limitPool } from "../gpu/pool.ts";
import { tensorsOf } from "../gpu/tensor_tree.ts";
import { copyWords, emptyTensor, readFloats } from "../gpu/tensors.ts";
import { composedAdvantages, groupAdvantages } from "../ops/loss/group_advantages.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { gatherNumbers, gatherParts } from "../parallel/gather.ts";
import { trimPasses } from "../policy/pass_replays.ts";
import type { AdvantageScores } from "../rl/composition.ts";
import {
  appliedEntropyCoef,
  type EntropyControl,
  initialEntropyControl,
  nextEntropyControl,
} from "../rl/entropy.ts";
import { layerSummer } from "./layer_gradients.ts";
import type { Learner } from "./learner.ts";
import { type Optimizer, optimizerStep } from "./optimizer.ts";
import { optimizerStepOfRanks } from "./zero_step.ts";
import { backward, backwardPrompts, promptKeys } from "./passes.ts";
import { syncReference } from "./reference_sync.ts";
import { type EntropyRequest, stepEntropy } from "./step_entropy.ts";
import { disposeUpdate, type PreparedStep, type PreparedUpdate, weightsOf } from "./prepared_update.ts";
import {
  logOfCompletions,
  lossesIn,
  lossesOf,
  meanStats,
  readUpdateStats,
  type StatsConfig,
  type UpdateStats,
} from "./update_stats.ts";

/** What a step's entropies are weighed by. */
type EntropySources = Omit<EntropyRequest, "batches" | "keys">;

/**
 * Adds a step's gradients into the weights, first from all completions, then from the prompts they share; or into what
 * this rank sums of all ranks', layer by layer.
 * @param advantagesAndWeights f32 [2, completions of the step]
 * @returns what its passes logged, and the mean entropy of the tokens that count where one was asked for
 */
async function accumulateGradients(
  learner: Learner,
  { prompts, batches }: PreparedStep,
  advantagesAndWeights: Tensor,
  ofEntropy: EntropySources,
): Promise<{ parts: Tensor[]; meanEntropy: number | null }> {
  const { communicator, config } = ofEntropy;
  const { optimizer, rowsPerPass: size } = learner;
  const passes = batches.length + (prompts ? 1 : 0);
  const summer = optimizer.layers && await layerSummer(communicator, optimizer, passes, config);
  const keys = promptKeys(learner, learner.policy, prompts);
  const parts: Tensor[] = [];
  const { tokenMasks, bonusWeights, mean } = await stepEntropy(learner, { ...ofEntropy, batches, keys });
  for (const [i, batch] of batches.entries()) {
    const weighting = {
      advantagesAndWeights: tf.slice(advantagesAndWeights, [0, i * size], [2, size]),
      ones: tf.ones([size]),
      tokenMask: tokenMasks && tokenMasks[i],
      bonusWeights: bonusWeights && tf.slice(bonusWeights, [i * size], [size]),
    };
    const logged = await backward(learner, batch, weighting, { keys, config, summer });
    parts.push(...logged);
    tf.dispose(tensorsOf(weighting));
  }
  if (bonusWeights) bonusWeights.dispose();
  if (prompts && keys) await backwardPrompts(learner, prompts, { keys, summer });
  await summer?.endStep();
  return { parts, meanEntropy: mean };
}

/**
 * Makes a gradient NaN where a loss is not finite, so that no update is made of the step: by any rank, since all sum
 * what this one adds. What is finite stays as it is.
 * @param logged of the step's passes, one behind the other
 */
function spoilGradient({ weights, shares }: Optimizer, logged: Tensor, rowsPerPass: number): void {
  const summedAlready = new Set(shares?.layers?.flat());
  const { grad } = weights.find((weight) => !summedAlready.has(weight))!;
  tf.tidy(() => {
    const value = emptyTensor([1]);
    copyWords({ tensor: grad!, first: 0, count: 1 }, value, 0);
    const nothing = tf.mul(tf.sum(lossesIn(logged, rowsPerPass)), 0); // of infinity and NaN: NaN
    copyWords({ tensor: tf.add(value, nothing), first: 0, count: 1 }, grad!, 0);
  });
}

/** One update of the weights, from the gradients of all ranks. @returns f32 [2]: gradient norm, clip scale */
async function step(
  communicator: Communicator,
  optimizer: Optimizer,
  learningRate: number,
  config: RunConfig,
): Promise<Tensor> {
  return communicator.size === 1
    ? tf.tidy(() => optimizerStep(optimizer, learningRate, config))
    : await optimizerStepOfRanks(communicator, optimizer, learningRate, config);
}

interface StatsShape {
  lengths: readonly number[];
  rowsPerPass: number;
  config: StatsConfig;
}

/**
 * Statistics of an optimizer step over the completions of all ranks.
 * @param values what it logged on this rank
 * @param lengths of all ranks' completions
 */
async function statsOfRanks(
  communicator: Communicator,
  values: Float32Array,
  { lengths, rowsPerPass, config }: StatsShape,
): Promise<UpdateStats> {
  if (communicator.size === 1) return readUpdateStats(values, lengths, rowsPerPass, config);
  // Ranks may differ in how many completions they train on at a time.
  const all = await gatherParts(communicator, logOfCompletions(values, rowsPerPass));
  return readUpdateStats(Float32Array.of(values[0], values[1], ...all), lengths, 1, config);
}

/** Scores of the completions of all ranks, in rank order; this rank's are those of the rollouts prepared. */
export interface UpdateRequest extends AdvantageScores {
  /** One per optimizer step. */
  learningRates: readonly number[];
  /** What the step before left of an entropy bonus that adapts; default: there was none. */
  entropyControl?: EntropyControl;
  config: RunConfig;
  /** Default: there is one rank. */
  communicator?: Communicator;
}

/** What a step's loss holds of an entropy bonus. */
interface Bonus {
  coef: number;
  /** Of the tokens that count; null: that of all of them, which is logged. */
  meanEntropy: number | null;
}

/** An optimizer step that was not made: its loss or its gradient was infinite or NaN. Weights and moments stay. */
export interface SkippedUpdate {
  /** Its number among those of the generation batch, from 0. */
  update: number;
  loss: number;
  gradNorm: number;
  /** Loss of each of this rank's completions that was in it, by the rollout's place. */
  losses: ReadonlyMap<number, number>;
}

export interface UpdateOutcome extends UpdateStats {
  skipped: readonly SkippedUpdate[];
  entropyControl: EntropyControl;
}

/**
 * Trains on one generation batch, as TRL does: group advantages; then num_iterations times over the batch, cut into
 * optimizer steps of gradient_accumulation_steps micro-batches. Where that makes several steps, ratios are taken
 * against the policy that sampled, and which completions are in which step was drawn. One read-back, at the end.
 * With several ranks, gradients are added up before each step, so that every rank makes the same one.
 *
 * @param prepared is freed
 * @returns means over the optimizer steps, but for those that were skipped, unless all were
 */
export async function updatePolicy(
  learner: Learner,
  prepared: PreparedUpdate,
  { combined, terms, learningRates, config, communicator = singleProcess, ...request }: UpdateRequest,
): Promise<UpdateOutcome> {
  const { order, tokenCounts, lengths, steps } = prepared;
  const size = order.length / steps.length;
  const firstOfRank = communicator.rank * order.length;
  const allLengths = await gatherNumbers(communicator, lengths);
  const advantagesAndWeights = tf.tidy(() => {
    const { num_generations, scale_rewards } = config;
    const advantages = terms
      ? composedAdvantages(terms, num_generations, scale_rewards)
      : groupAdvantages(tf.tensor1d(Float32Array.from(combined)), num_generations, scale_rewards);
    const places = order.map((place) => firstOfRank + place);
    const totals = {
      windows: steps.length,
      worldSize: communicator.size,
      totalTokens: allLengths.reduce((sum, length) => sum + length, 0),
    };
    return tf.stack([
      tf.gather(advantages, tf.tensor1d(places, "int32")),
      tf.tensor1d(weightsOf(lengths, totals, config)),
    ]);
  });
  const lengthsOfStep = (s: number) => allLengths.filter((_, i) => Math.floor(i % order.length / size) === s);
  let entropyControl = request.entropyControl ?? initialEntropyControl(config);
  const bonuses: Bonus[] = [];
  const logged: Tensor[] = [];
  try {
    for (const [update, rate] of learningRates.entries()) {
      const s = update % steps.length;
      const own = tf.tidy(() => tf.slice(advantagesAndWeights, [0, s * size], [2, size]));
      const coef = appliedEntropyCoef(entropyControl, config);
      const { parts, meanEntropy } = await accumulateGradients(learner, steps[s], own, {
        tokenCounts: tokenCounts.slice(s * size, (s + 1) * size),
        lengths: lengths.slice(s * size, (s + 1) * size),
        allLengths: lengthsOfStep(s),
        coef,
        communicator,
        config,
      }).finally(() => own.dispose());
      bonuses.push({ coef, meanEntropy });
      if (meanEntropy !== null && Number.isFinite(meanEntropy)) {
        entropyControl = nextEntropyControl(entropyControl, meanEntropy, config);
      }
      const log = tf.tidy(() => tf.concat(parts as tf.Tensor1D[]));
      spoilGradient(learner.optimizer, log, learner.rowsPerPass);
      const clip = await step(communicator, learner.optimizer, rate, config);
      syncReference(learner, config);
      logged.push(tf.tidy(() => tf.concat([clip, log] as tf.Tensor1D[])));
      tf.dispose([clip, log, ...parts]);
    }
  } finally {
    advantagesAndWeights.dispose();
    disposeUpdate(prepared);
  }
  trimPasses(learner.replays.policy);
  trimPasses(learner.replays.reference);
  limitPool();
  const updates: UpdateStats[] = [];
  const skipped: SkippedUpdate[] = [];
  const { rowsPerPass } = learner;
  for (const [update, values] of (await Promise.all(logged.map(readFloats))).entries()) {
    const first = (update % steps.length) * size;
    const stats = await statsOfRanks(communicator, values, {
      lengths: lengthsOfStep(update % steps.length),
      rowsPerPass,
      config,
    });
    const { coef, meanEntropy } = bonuses[update];
    updates.push({ ...stats, policyLoss: stats.loss + coef * (meanEntropy ?? stats.entropy) });
    if (Number.isFinite(stats.gradNorm)) continue;
    const losses = lossesOf(values, size, rowsPerPass).map((loss, i) => [order[first + i], loss] as const);
    skipped.push({ update, loss: stats.loss, gradNorm: stats.gradNorm, losses: new Map(losses) });
  }
  tf.dispose(logged);
  const made = updates.filter(({ gradNorm }) => Number.isFinite(gradNorm));
  return { ...meanStats(made.length > 0 ? made : updates), skipped, entropyControl };
}
