/** What a run trains, and what it is held against: made, and freed. */
import type { RunConfig } from "../config/sweep.ts";
import { disposeReference, freezeReference, trainableWeights } from "../policy/adapters.ts";
import type { Policy } from "../policy/trunk.ts";
import { disposePasses, makePassReplays, type PassReplays } from "../policy/pass_replays.ts";
import { listWeights, parameterCount } from "../policy/weights.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { createOptimizer, disposeOptimizer, type Optimizer } from "./optimizer.ts";
import { shareAccumulators } from "./layer_gradients.ts";
import { sharesOf } from "./zero_shares.ts";
import { sharesState } from "./zero_step.ts";

/** What is trained, and what it is held against. */
export interface Learner {
  policy: Policy;
  /** null when beta is 0. */
  reference: Policy | null;
  optimizer: Optimizer;
  /** Completions in a forward and backward pass: a divisor of those of a step. Changes no bit in float32. */
  readonly rowsPerPass: number;
  /** Recorded passes over the prompts of a step and over its micro-batches. */
  replays: { policy: PassReplays; reference: PassReplays };
}

/** Models above this recompute their layers in backward where neither settings nor a memory plan say otherwise. */
const LARGE_MODEL = 1e9;

export interface LearnerOptions {
  /** Completions that are trained on at a time, by the memory plan; null, the default, for those of a micro-batch. */
  rowsPerPass?: number | null;
  /** Whether layers run again in backward, by the memory plan; null, the default, where it does not know. */
  recomputesLayers?: boolean | null;
  /** Whether gradients are summed over the ranks layer by layer, amid backward, by the memory plan; default: no. */
  sumsLayers?: boolean;
  /** Those that train together, and which of them this is; default: one alone. */
  ranks?: Pick<Communicator, "rank" | "size">;
}

/** Weights whose gradients are there at the same time in a backward pass: those of each layer, and the others. */
function weightGroups(policy: Policy): Weight[][] {
  const trained = trainableWeights(policy);
  const left = new Set(trained);
  const layers = policy.weights.layers.map((layer) =>
    (Object.values(layer) as Weight[]).filter((weight) => left.delete(weight))
  );
  return [...layers, [...left]].filter((group) => group.length > 0);
}

/** What is trained, and what it is held against. The policy must be as it was loaded. */
export function makeLearner(
  policy: Policy,
  config: RunConfig,
  {
    rowsPerPass = null,
    recomputesLayers: planned = null,
    sumsLayers = false,
    ranks = singleProcess,
  }: LearnerOptions = {},
): Learner {
  const recomputesLayers = config.gradient_checkpointing !== "auto"
    ? config.gradient_checkpointing
    : planned ?? parameterCount(listWeights(policy.weights)) > LARGE_MODEL;
  const isShared = sharesState(config, ranks.size);
  const { layers } = policy.weights;
  const marksLayers = sumsLayers && isShared && !policy.adapters;
  // First: what it frees is room for the rest.
  if (marksLayers) shareAccumulators(layers, config.overlap_comm ? 2 : 1);
  const reference = config.beta === 0 ? null : freezeReference(policy, config.sync_ref_model);
  const shares = ranks.size === 1 ? null : {
    pieces: sharesOf(weightGroups(policy), ranks.size),
    rank: isShared ? ranks.rank : null,
    layers: marksLayers ? layers.map((layer) => Object.values(layer) as Weight[]) : null,
  };
  const optimizer = createOptimizer(trainableWeights(policy), shares);
  return {
    policy: { ...policy, recomputesLayers, marksLayers },
    reference,
    optimizer,
    rowsPerPass: rowsPerPass ?? config.per_device_train_batch_size,
    replays: { policy: makePassReplays(), reference: makePassReplays() },
  };
}

/** Frees what makeLearner made; the policy stays. */
export function disposeLearner({ policy, reference, optimizer, replays }: Learner): void {
  disposePasses(replays.policy);
  disposePasses(replays.reference);
  if (reference) disposeReference(reference, policy);
  disposeOptimizer(optimizer);
}
