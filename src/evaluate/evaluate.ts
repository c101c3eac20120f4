/** Greedy evaluation over every prompt of the eval set. */
import type { RunConfig } from "../config/sweep.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { createGenerator, spokenTokens } from "../policy/decode/generate.ts";
import { greedyOptions } from "../policy/decode/options.ts";
import type { Policy } from "../policy/trunk.ts";
import { type Message, type PromptLayout, stopStringsOf, trimAtStopString } from "../rl/conversation.ts";
import { combineScores } from "../rl/lambda.ts";
import { answerOf } from "../scorer/answer.ts";
import type { Scorer } from "../scorer/protocol.ts";

export interface EvalPrompt {
  user: string;
  ids: readonly number[];
  messages: readonly Message[];
  columns: Readonly<Record<string, unknown>>;
  layout: PromptLayout;
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

/** A completion without stop string, and its tokens. */
interface Completed {
  completion: string;
  tokens: readonly number[];
}

async function completeGreedily(deps: EvaluationDeps): Promise<Completed[]> {
  const { policy, tokenizer, prompts, config } = deps;
  const generator = createGenerator(policy, greedyOptions(policy, config));
  const completions: Completed[] = [];
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
      const stopStrings = stopStringsOf(config.stop_strings, batch[0].layout);
      for (const { tokens, end } of made) {
        const whole = tokenizer.decode(spokenTokens({ tokens, end }), { skipSpecialTokens: true });
        completions.push({ completion: trimAtStopString(whole, stopStrings).text, tokens });
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
  const completed = await completeGreedily(deps);
  const answers = deps.prompts.map(({ user, messages, columns, ids }, i) =>
    answerOf({ prompt: user, messages, columns, ...completed[i] }, ids, deps.tokenizer.decode)
  );
  const { rewards, costs } = await deps.scorer.score(answers, {
    batchSize: deps.config.scorer_batch_size_eval,
  });
  return {
    prompts: answers.map(({ prompt }) => prompt),
    completions: answers.map(({ completion }) => completion),
    rewards,
    costs,
    combined: Array.from(combineScores(rewards, costs, lambda)),
  };
}
