/** The trainee of this project: what `train` does with a micro-batch. */
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { disposePolicyWeights } from "../../src/policy/adapters.ts";
import { disposeTrunk, makeTrunk, policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { disposeLearner, makeLearner } from "../../src/train/learner.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { prepareUpdate, type TrainedRollout } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { llamaConfig } from "../random_llama.ts";
import type { PeerTask, Trainee } from "./task.ts";

/** The task's model as a policy that is trained. */
export async function policyOf({ shape, weights }: PeerTask): Promise<Policy> {
  const source = hostSource({
    path: "random weights",
    shapeOf: (name) => weights.get(name)?.shape,
    read: (name) => Promise.resolve(weights.get(name)!.values),
  });
  const config = parseModelConfig(llamaConfig(shape), "random weights");
  return makeTrunk(config, await loadPolicyWeights(source, config, "float32"));
}

/** A prompt of one token, and a completion of T. */
function rolloutsOf({ rows, length, ids, targets }: PeerTask): TrainedRollout[] {
  return Array.from({ length: rows }, (_, b) => ({
    prompt: { ids: [ids[b * length]] },
    tokens: Array.from(targets.subarray(b * length, (b + 1) * length)),
    logprobs: null,
    end: "length",
  }));
}

export async function ours(task: PeerTask): Promise<Trainee> {
  const { config, rewards } = task;
  const policy = await policyOf(task);
  const learner = makeLearner(policy, config);
  const rollouts = rolloutsOf(task);
  let steps = 0;
  return {
    name: "this project",
    async meanLogprob() {
      const logprobs = tf.tidy(() => {
        const { sequences, picked, targets } = uploadMicroBatch(rollouts);
        return policyLogprobs(policy, sequences, { picked, targets, temperature: config.temperature })[0];
      });
      const values = await readFloats(logprobs);
      logprobs.dispose();
      return values.reduce((sum, value) => sum + value, 0) / task.targets.length;
    },
    async step() {
      const prepared = prepareUpdate(learner, rollouts, ++steps, 1, config);
      const stats = await updatePolicy(learner, prepared, {
        combined: rewards,
        learningRates: [config.learning_rate],
        config,
      });
      return stats.gradNorm;
    },
    dispose() {
      disposeLearner(learner);
      disposePolicyWeights(policy);
      disposeTrunk(policy);
      trimPool();
    },
  };
}
