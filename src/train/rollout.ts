/** Samples the completions of a generation batch. */
import type { RunConfig } from "../config/sweep.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import {
  type Completion,
  type GenerationProgress,
  type GenerationRequest,
  type Generator,
  spokenTokens,
} from "../policy/decode/generate.ts";
import { hasHallucinatedTurn, stopStringsOf, trimAtStopString } from "../rl/conversation.ts";
import type { End } from "../rl/ends.ts";
import type { Prompt } from "./prompts.ts";

export interface Rollout {
  prompt: Prompt;
  /** Completion token ids, up to and including the end token or stop string. */
  tokens: number[];
  /** Of each token, as decoding computed them, nats; null where they were not kept. */
  logprobs: number[] | null;
  /** What the scorer reads: without end token and stop string. */
  text: string;
  end: End;
  /** It began a turn of the user's, in the words of Beaver's layout; false in others. */
  hallucinatedTurn: boolean;
}

/** Tokens by which the looked-at end of a completion is lengthened, until it is long enough. */
const TAIL_STEP = 16;
/** Characters at the beginning of such an end that may read otherwise than in the whole: half of one, or a space. */
const TAIL_MARGIN = 16;

/**
 * Where a completion is to be cut for a stop string: the fewest tokens whose text holds one, or null. It is a function
 * of the tokens so far and how many of them it has seen before, which held none: of those it reads the end only.
 * The tokens that write the stop string stay in: they are how the policy ends its turn.
 */
export function findStopIn(tokenizer: Pick<Tokenizer, "decode">, stopStrings: readonly string[]) {
  const longest = Math.max(0, ...stopStrings.map(({ length }) => length));
  const textOf = (tokens: readonly number[]) => tokenizer.decode(tokens, { skipSpecialTokens: true });
  const holdsStop = (tokens: readonly number[]) =>
    trimAtStopString(textOf(tokens), stopStrings).stopString !== null;
  /** First token of an end in which a stop string that goes on behind `seen` is whole. */
  const tailFrom = (tokens: readonly number[], seen: number): number => {
    for (let from = seen - TAIL_STEP; from > 0; from -= TAIL_STEP) {
      if (textOf(tokens.slice(from, seen)).length >= longest + TAIL_MARGIN) return from;
    }
    return 0;
  };
  return (tokens: readonly number[], seen = 0): number | null => {
    if (longest === 0 || !holdsStop(tokens.slice(tailFrom(tokens, seen))) || !holdsStop(tokens)) return null;
    let kept = seen + 1;
    while (!holdsStop(tokens.slice(0, kept))) kept++;
    return kept;
  };
}

export interface RolloutRequest {
  /** One or more, all of one layout. */
  prompts: readonly Prompt[];
  config: Pick<RunConfig, "num_generations" | "seed" | "stop_strings">;
  /** Counter of the random numbers: the first of the optimizer steps made of the batch. */
  step: number;
  /** Slot of prompts[0] among those of the batch on all ranks. */
  firstPrompt: number;
  /** Which of the prompts' completions are this rank's; all unless given. */
  slice?: GenerationRequest["slice"];
  onProgress?(progress: GenerationProgress): void;
  /** A prompt's rollouts of this rank, as soon as all of them have ended. @param first place of the first among all */
  onGroup?(rollouts: Rollout[], first: number): void;
}

/** The rollouts of all prompts, in their order, num_generations of each, or those of the slice. */
export async function sampleRollouts(
  generator: Pick<Generator, "generate">,
  tokenizer: Tokenizer,
  { prompts, config, step, firstPrompt, slice, onProgress, onGroup }: RolloutRequest,
): Promise<Rollout[]> {
  const stopStrings = stopStringsOf(config.stop_strings, prompts[0].layout);
  const rolloutOf = (prompt: Prompt, completion: Completion): Rollout => {
    const whole = tokenizer.decode(spokenTokens(completion), { skipSpecialTokens: true });
    const { text } = trimAtStopString(whole, stopStrings);
    return { prompt, ...completion, text, hallucinatedTurn: hasHallucinatedTurn(whole, prompt.layout) };
  };
  const groups: Rollout[][] = [];
  await generator.generate({
    prompts: prompts.map((prompt) => prompt.ids),
    groupSize: config.num_generations,
    seed: config.seed,
    step,
    firstPrompt,
    slice,
    findStop: findStopIn(tokenizer, stopStrings),
    onProgress,
    onGroup(p, completions, first) {
      groups[p] = completions.map((completion) => rolloutOf(prompts[p], completion));
      onGroup?.(groups[p], first);
    },
  });
  return groups.flat();
}
