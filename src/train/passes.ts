/**
 * The passes of an optimizer step over tokens: frozen log-probs, and forward and backward; recorded once per size, then
 * replayed.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { copyOf, zeroTensor } from "../gpu/tensors.ts";
import { backpropagate } from "../gpu/op.ts";
import type { Replays } from "../gpu/replay.ts";
import { entropyBonus } from "../ops/loss/entropy_bonus.ts";
import { grpoLoss } from "../ops/loss/grpo_loss.ts";
import { policyWeights } from "../ops/loss/policy_weights.ts";
import { samplerWeights } from "../ops/loss/sampler_weights.ts";
import { correctsSampler } from "../policy/precision.ts";
import { policyLogprobs } from "../policy/transformer.ts";
import type { Policy, SequenceTensors } from "../policy/trunk.ts";
import type { PrefixKeys } from "../ops/attention/attention.ts";
import { hasPolicyWeights } from "../rl/policy_weights.ts";
import type { PassReplays } from "../policy/pass_replays.ts";
import { clearGradients, prefixBackward, prefixKeys } from "../policy/shared_prefix.ts";
import type { LayerSummer } from "./layer_gradients.ts";
import type { Learner } from "./learner.ts";
import type { MicroBatch } from "./micro_batch.ts";

const replaysOf = ({ policy, replays }: Learner, model: Policy): PassReplays =>
  model === policy ? replays.policy : replays.reference;

/** Where a model's prompts are, for the names of what reads them. */
const placeOf = (keys: readonly PrefixKeys[] | null) => keys ? `on ${keys[0].k.id}` : "";

/** A micro-batch with what does not change while it is trained on. */
export interface PreparedBatch {
  tokens: MicroBatch;
  /** f32 [M]; null when beta is 0. */
  refLogprobs: Tensor | null;
  /** f32 [M]; null where every ratio is 1, the policy being the one that sampled. */
  oldLogprobs: Tensor | null;
  /** f32 [M], as decoding computed them; null where it kept none, which counts as no difference. */
  samplerLogprobs: Tensor | null;
}

function logprobsOf(
  model: Policy,
  { sequences, prefixRows, picked, targets }: MicroBatch,
  keys: readonly PrefixKeys[] | null,
  config: RunConfig,
  differentiatesEntropy = false,
): Tensor[] {
  const prefix = prefixRows && keys ? { ...prefixRows, keys } : undefined;
  return policyLogprobs(model, { ...sequences, prefix }, {
    picked,
    targets,
    temperature: config.temperature,
    differentiatesEntropy,
  });
}

/** Keys and values of a step's prompts; good until other prompts are run. */
export function promptKeys(
  learner: Learner,
  model: Policy,
  prompts: SequenceTensors | null,
): PrefixKeys[] | null {
  if (!prompts) return null;
  const isTrained = model === learner.policy;
  const { prompts: recorded } = replaysOf(learner, model);
  const keys = recorded.run("keys", prompts, (own) => prefixKeys(model, own, isTrained));
  clearGradients(keys);
  return keys;
}

/** Log-probs of batches of a step, nothing being trained. @returns f32 [M] each */
export function frozenLogprobs(
  learner: Learner,
  model: Policy,
  prompts: SequenceTensors | null,
  batches: readonly MicroBatch[],
  config: RunConfig,
): Tensor[] {
  const keys = promptKeys(learner, model, prompts);
  const { passes } = replaysOf(learner, model);
  const build = (own: MicroBatch) => logprobsOf(model, own, keys, config)[0];
  return batches.map((batch) => copyOf(passes.run(`log-probs ${placeOf(keys)}`, batch, build)));
}

/** Entropies at the tokens of a step's batches, nothing being trained. @returns f32 [M] each */
export function frozenEntropies(
  learner: Learner,
  keys: readonly PrefixKeys[] | null,
  batches: readonly MicroBatch[],
  config: RunConfig,
): Tensor[] {
  const { policy, replays } = learner;
  const build = (own: MicroBatch) => logprobsOf(policy, own, keys, config)[1];
  return batches.map((batch) =>
    copyOf(replays.policy.passes.run(`entropies ${placeOf(keys)}`, batch, build))
  );
}

/** Runs a recorded pass; where layers are summed over the ranks, it stops at each. */
async function runBackward<Inputs, Outputs>(
  replays: Replays,
  name: string,
  inputs: Inputs,
  summer: LayerSummer | null,
  build: (inputs: Inputs) => Outputs,
): Promise<Outputs> {
  if (!summer) return replays.run(name, inputs, build);
  const outputs = await replays.runInParts(name, inputs, build, summer.onLayer);
  await summer.endPass();
  return outputs;
}

/** What is known of a micro-batch's completions once they are scored. */
export interface Weighting {
  /** f32 [2,B] */
  advantagesAndWeights: Tensor;
  /** f32 [B]: the step's loss is the sum of theirs. */
  ones: Tensor;
  /** f32 [M]: 1 for tokens whose policy term and entropy count, else 0; null: all do. */
  tokenMask: Tensor | null;
  /** f32 [B] of the entropies in the bonus; null: there is none. */
  bonusWeights: Tensor | null;
}

export interface BackwardOptions {
  /** Of the step's prompts, where they have passes of their own. */
  keys: PrefixKeys[] | null;
  config: RunConfig;
  /** null: gradients gather in the weights until the step is over. */
  summer: LayerSummer | null;
}

/**
 * Loss and gradients of one micro-batch; gradients are added into the weights, and into those of the prompts' keys.
 * @param weighting of its completions
 * @returns losses [B], stats [4 B], those of the sampler [5 B], weights of the completions [B]
 */
export async function backward(
  { policy, replays }: Learner,
  batch: PreparedBatch,
  weighting: Weighting,
  { keys, config, summer }: BackwardOptions,
): Promise<Tensor[]> {
  const corrects = correctsSampler(config);
  const { losses, stats, ofSampler, sequenceWeights } = await runBackward(
    replays.policy.passes,
    `training ${placeOf(keys)}`,
    { batch, weighting },
    summer,
    (own) => {
      const { tokens, refLogprobs, oldLogprobs, samplerLogprobs } = own.batch;
      const { advantagesAndWeights, ones, tokenMask, bonusWeights } = own.weighting;
      const context = { refLogprobs, oldLogprobs, advantagesAndWeights, offsets: tokens.offsets };
      let kept: Record<"stats" | "ofSampler", Tensor> & { sequenceWeights: Tensor | null } | null = null;
      const spent: Tensor[] = [];
      const forward = () => {
        const [logprobs, entropy] = logprobsOf(policy, tokens, keys, config, bonusWeights !== null);
        const trainer = oldLogprobs ?? logprobs;
        const sampler = samplerLogprobs ?? trainer;
        const held = samplerWeights({ trainer, sampler }, tokens.offsets, config);
        const ofSampler = corrects ? held.weights : null;
        const own = hasPolicyWeights(config) || tokenMask
          ? policyWeights({
            logprobs,
            oldLogprobs: trainer,
            samplerLogprobs: sampler,
            samplerWeights: ofSampler,
            tokenMask,
            offsets: tokens.offsets,
            advantagesAndWeights,
          }, config)
          : null;
        const tokenWeights = own?.weights ?? ofSampler;
        const made = grpoLoss({ ...context, logprobs, entropy, tokenWeights }, config);
        kept = {
          stats: tf.keep(made.stats),
          ofSampler: tf.keep(held.stats),
          sequenceWeights: own && tf.keep(own.sequenceWeights),
        };
        // Backward reads the weights again, of which the tape does not know.
        spent.push(...[held.weights, own?.weights].filter((weights) => weights !== undefined).map(tf.keep));
        return bonusWeights
          ? entropyBonus(made.losses, entropy, { bonusWeights, tokenMask, offsets: tokens.offsets })
          : made.losses;
      };
      const { value } = backpropagate(forward, [policy.root], ones);
      tf.dispose(spent);
      return { losses: value, ...kept! };
    },
  );
  const made = [losses, stats, ofSampler, sequenceWeights ?? weighting.ones];
  return tf.tidy(() => made.map((one) => tf.reshape(copyOf(one), [-1])));
}

/** Takes the gradients of the prompts' keys into the weights. */
export async function backwardPrompts(
  { policy, replays }: Learner,
  prompts: SequenceTensors,
  { keys, summer }: { keys: PrefixKeys[]; summer: LayerSummer | null },
): Promise<void> {
  const none = tf.tidy(() => tf.keep(zeroTensor([prompts.ids.size, policy.config.hiddenSize])));
  await runBackward(
    replays.policy.promptsBackward,
    placeOf(keys),
    { prompts, none },
    summer,
    (own) => prefixBackward(policy, own.prompts, keys, own.none),
  ).finally(() => none.dispose());
}
