/** How a configuration's completions are generated. */
import type { RunConfig } from "../../config/sweep.ts";
import type { GenerationOptions } from "./generate.ts";
import { kvCacheDtypeOf } from "../precision.ts";
import type { Policy } from "../trunk.ts";

/** Greedy, without penalty: how a policy is evaluated. */
export function greedyOptions(policy: Policy, config: RunConfig): GenerationOptions {
  return {
    temperature: 0,
    topP: 1,
    topK: 0,
    eosIds: policy.config.eosIds,
    maxTokens: config.max_completion_length,
    readbackEvery: config.readback_every,
    kvCacheDtype: kvCacheDtypeOf(config),
  };
}

/** As the policy is trained on, with the log-probs that training is held against. */
export function samplingOptions(policy: Policy, config: RunConfig): GenerationOptions {
  return {
    ...greedyOptions(policy, config),
    temperature: config.temperature,
    topP: config.top_p,
    topK: config.top_k,
    minP: config.min_p ?? 0,
    repetitionPenalty: config.repetition_penalty,
    keepsLogprobs: true,
  };
}

/** As the policy is trained on, where a memory plan has counted the whole cache. */
export function plannedOptions(policy: Policy, config: RunConfig): GenerationOptions {
  return { ...samplingOptions(policy, config), reservesCache: true };
}
