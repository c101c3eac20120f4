/** Greedy evaluation over every prompt of the eval set. */
import { constraintsOf } from "../config/constraints.ts";
import type { RunConfig } from "../config/sweep.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { type Communicator, shareOf, singleProcess } from "../parallel/communicator.ts";
import { gatherTexts } from "../parallel/gather.ts";
import { createGenerator, spokenTokens } from "../policy/decode/generate.ts";
import { greedyOptions } from "../policy/decode/options.ts";
import type { Policy } from "../policy/trunk.ts";
import { answersKl } from "../policy/vocabulary_kl.ts";
import {
  hasHallucinatedTurn,
  type Message,
  type PromptLayout,
  stopStringsOf,
  trimAtStopString,
} from "../rl/conversation.ts";
import { type End, ENDS } from "../rl/ends.ts";
import { combineScores, weighedCosts } from "../rl/lambda.ts";
import { answerOf } from "../scorer/answer.ts";
import type { Answer, ScoreJournal, Scorer, Scores } from "../scorer/protocol.ts";

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
  /** reward - lambda * cost, of several costs each with its own lambda; costs as training weighs them. */
  combined: number[];
  /** Tokens of each completion, its end included, and how it ended. */
  completionLengths: number[];
  ends: End[];
  /** What the parts of the scores said, by name; undefined where the scorer has none. */
  named?: Readonly<Record<string, readonly number[]>>;
}

export interface EvaluationDeps {
  policy: Policy;
  tokenizer: Tokenizer;
  scorer: Scorer;
  prompts: readonly EvalPrompt[];
  config: RunConfig;
  /** Ranks that share the prompts out; one unless given. */
  communicator?: Communicator;
  /** Scores that a run before this one was given for the same. */
  journal?: ScoreJournal;
  /** Another model of the same vocabulary, whose distributions the policy's are held against over its answers. */
  klBase?: Policy;
  onProgress?(promptsDone: number, prompts: number): void;
  /** At every read-back; what it throws ends the evaluation. */
  onGenerating?(): void;
}

/** How a completion ended. */
export interface Ended {
  /** "length": it has max_completion_length tokens, of which none ends it, and no stop string. */
  end: End;
  /** It went on to write a turn of the user's, before stop strings were cut off. */
  hasFakeTurn: boolean;
}

/** A completion without stop string, and its tokens. */
interface Completed extends Ended {
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
        onProgress: deps.onGenerating,
      });
      const stopStrings = stopStringsOf(config.stop_strings, batch[0].layout);
      for (const { tokens, end } of made) {
        const whole = tokenizer.decode(spokenTokens({ tokens, end }), { skipSpecialTokens: true });
        const { text, stopString } = trimAtStopString(whole, stopStrings);
        completions.push({
          completion: text,
          tokens,
          end: stopString === null ? end : "stop",
          hasFakeTurn: hasHallucinatedTurn(whole, batch[0].layout),
        });
      }
      deps.onProgress?.(completions.length, prompts.length);
    }
  } finally {
    generator.dispose();
  }
  return completions;
}

/** The values of every rank's share, of `count` in all. @param own those of this rank's */
async function gatherShares(
  communicator: Communicator,
  own: readonly number[],
  count: number,
): Promise<number[]> {
  if (communicator.size === 1) return [...own];
  const all = new Float64Array(count);
  all.set(own, shareOf(count, communicator.rank, communicator.size).start);
  await communicator.allGather(all);
  return Array.from(all);
}

/** Named scores of every rank's share; a name that a rank's scorer does not give is not a number there. */
async function gatherNamed(
  communicator: Communicator,
  named: Evaluation["named"],
  { own, count }: { own: number; count: number },
): Promise<Evaluation["named"]> {
  if (communicator.size === 1) return named;
  const names = [...new Set(await gatherTexts(communicator, Object.keys(named ?? {})))].sort();
  const gathered: Record<string, readonly number[]> = {};
  for (const name of names) {
    const values = named?.[name] ?? new Array<number>(own).fill(NaN);
    gathered[name] = await gatherShares(communicator, values, count);
  }
  return names.length === 0 ? undefined : gathered;
}

/** Answers to prompts, in their order, and what the scorer said of them. */
export interface Answered {
  answers: Answer[];
  ended: readonly Ended[];
  scores: Scores;
  /** KL of the policy from klBase over each answer, summed over its tokens, nats; null without one. */
  kls: readonly number[] | null;
}

/** Completes every prompt greedily and has prompt and completion scored, each as it is; ranks do not share. */
export async function answerPrompts(deps: EvaluationDeps): Promise<Answered> {
  const { prompts, tokenizer, scorer, config } = deps;
  if (prompts.length === 0) return { answers: [], ended: [], scores: { rewards: [], costs: [] }, kls: null };
  const completed = await completeGreedily(deps);
  const whole = completed.map(({ tokens }, i) => ({ prompt: prompts[i].ids, tokens }));
  const kls = deps.klBase ? await answersKl(deps.policy, deps.klBase, whole) : null;
  const answers = prompts.map(({ user, messages, columns, ids }, i) => {
    const { completion, tokens } = completed[i];
    return answerOf({ prompt: user, messages, columns, completion, tokens }, ids, tokenizer.decode);
  });
  const scores = await scorer.score(answers, {
    batchSize: config.scorer_batch_size_eval,
    journal: deps.journal,
  });
  return { answers, ended: completed, scores, kls };
}

/** Scores of an evaluation. */
type EvaluatedScores = Pick<Evaluation, "rewards" | "costs" | "named">;

/** reward - lambda * cost, of several costs each with its own. @param lambdas in the order of the config's costs */
export function combinedOf(
  { rewards, costs, named }: EvaluatedScores,
  config: RunConfig,
  lambdas: readonly number[],
): number[] {
  const combined = constraintsOf(config).reduce<ArrayLike<number>>(
    (sum, { name, settings }, k) => {
      const own = name === null ? costs : named![`costs/${name}`];
      return combineScores(sum, weighedCosts(own, settings), lambdas[k]);
    },
    rewards,
  );
  return Array.from(combined);
}

/**
 * Completes every prompt greedily and has prompt and completion scored, each as it is. Ranks take equal shares of the
 * prompts; each returns all.
 * @param lambdas one of each cost, in the order of the config
 */
export async function evaluatePolicy(
  deps: EvaluationDeps,
  lambdas: readonly number[],
): Promise<Evaluation> {
  const { communicator = singleProcess, prompts } = deps;
  const { start, end } = shareOf(prompts.length, communicator.rank, communicator.size);
  const own = prompts.slice(start, end);
  const { answers, ended, scores } = await answerPrompts({ ...deps, prompts: own });
  const count = prompts.length;
  const rewards = await gatherShares(communicator, scores.rewards, count);
  const costs = await gatherShares(communicator, scores.costs, count);
  const lengths = await gatherShares(communicator, answers.map(({ tokens }) => tokens.length), count);
  const ends = await gatherShares(communicator, ended.map(({ end }) => ENDS.indexOf(end)), count);
  const named = await gatherNamed(communicator, scores.named, { own: own.length, count });
  return {
    prompts: [...await gatherTexts(communicator, answers.map(({ prompt }) => prompt))],
    completions: [...await gatherTexts(communicator, answers.map(({ completion }) => completion))],
    rewards,
    costs,
    combined: combinedOf({ rewards, costs, named }, deps.config, lambdas),
    completionLengths: lengths,
    ends: ends.map((index) => ENDS[index]),
    ...(named && { named }),
  };
}
