/** Greedy evaluation over every prompt of the eval set. */
import type { RunConfig } from "../config/sweep.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { createGenerator } from "../policy/decode/generate.ts";
import { greedyOptions } from "../policy/decode/options.ts";
import type { Policy } from "../policy/trunk.ts";
import { combineScores } from "../rl/lambda.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { trimAtStopString } from "../rl/conversation.ts";

export interface EvalPrompt {
  user: string;
  ids: readonly number[];
}

export interface Evaluation {
  prompts: string[];
  completions: string[];
  rewards: number[];
  costs: number[];
  /** reward - lambda * cost with the lambda given. */
  combined: number[];
}

export interface EvaluationDeps {
  policy: Policy;
  tokenizer: Tokenizer;
  scorer: Scorer;
  prompts: readonly EvalPrompt[];
  config: RunConfig;
  onProgress?(promptsDone: number, prompts: number): void;
}

async function completeGreedily(deps: EvaluationDeps): Promise<string[]> {
  const { policy, tokenizer, prompts, config } = deps;
  const generator = createGenerator(policy, greedyOptions(policy, config));
  const completions: string[] = [];
  try {
    for (let start = 0; start < prompts.length; start += config.eval_batch_size) {
      const batch = prompts.slice(start, start + config.eval_batch_size);
      // Greedy decoding draws no random numbers; seed and step are not read.
      const made = await generator.generate({
        prompts: batch.map(({ ids }) => ids),
        groupSize: 1,
        seed: 0,
        step: 0,
      });
      for (const { tokens } of made) {
        const whole = tokenizer.decode(tokens, { skipSpecialTokens: true });
        completions.push(trimAtStopString(whole, config.stop_strings).text);
      }
      deps.onProgress?.(completions.length, prompts.length);
    }
  } finally {
    generator.dispose();
  }
  return completions;
}

/** Completes every prompt greedily and has prompt and completion scored, each as it is. */
export async function evaluatePolicy(deps: EvaluationDeps, lambda: number): Promise<Evaluation> {
  const completions = await completeGreedily(deps);
  const prompts = deps.prompts.map(({ user }) => user);
  const { rewards, costs } = await deps.scorer.score(prompts, completions, {
    batchSize: deps.config.scorer_batch_size_eval,
  });
  return {
    prompts,
    completions,
    rewards,
    costs,
    combined: Array.from(combineScores(rewards, costs, lambda)),
  };
}
