/** A language model to try out: completions and log-probs. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { loadPolicy as load } from "../assembly/models.ts";
import { promptFormatOf, type PromptSettings } from "../assembly/prompts.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { disposePolicyWeights } from "../policy/adapters.ts";
import { type Completion, createGenerator } from "../policy/decode/generate.ts";
import { coverPositions, disposeTrunk, policyLogprobs } from "../policy/transformer.ts";
import { readTensor } from "../gpu/tensors.ts";
import { openGpu } from "../gpu/device.ts";
import { trimPool } from "../gpu/pool.ts";
import { stopStringsOf, trimAtStopString } from "../rl/conversation.ts";
import { uploadMicroBatch } from "../train/micro_batch.ts";
import { encodePrompts, type Prompt } from "../train/prompts.ts";
import { findStopIn } from "../train/rollout.ts";
import { type GivenPrompt, promptsOf } from "./rows.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { samplingOptions } from "../policy/decode/options.ts";

/** How completions are sampled: the settings of those names; greedily with temperature 0. */
export type GenerateOptions =
  & Pick<
    Settings,
    | "max_completion_length"
    | "max_prompt_length"
    | "top_p"
    | "top_k"
    | "min_p"
    | "repetition_penalty"
    | "stop_strings"
    | "seed"
    | "chat_template"
    | "system_prompt"
    | "chat_template_kwargs"
  >
  & {
    /** Default 0: the likeliest token each time. */
    temperature?: number;
    /** Completions of each prompt. Default 1. */
    num_generations?: number;
  };

export interface GeneratedCompletion extends Omit<Completion, "logprobs"> {
  /** The prompt's place in the list. */
  promptIndex: number;
  /** Without end token and stop string. */
  completion: string;
}

export interface LoadedModel {
  readonly tokenizer: Tokenizer;
  /**
   * Completions, those of a prompt standing together. Prompts get the template that training gives them.
   * @throws ConfigError when an option does not fit
   * @throws RangeError when a prompt cannot be encoded
   */
  generate(prompts: readonly GivenPrompt[], options?: GenerateOptions): Promise<GeneratedCompletion[]>;
  /**
   * Log-probs (nats, temperature 1) of a completion's tokens after a prompt.
   * @param completion a text, to which the end token is added, or token ids as they are
   * @throws RangeError when the prompt cannot be encoded, the completion is empty, or both are longer than the model's
   *   positions
   */
  logprobs(
    prompt: GivenPrompt,
    completion: string | readonly number[],
  ): Promise<{ tokens: number[]; logprobs: number[] }>;
  /** Frees its GPU memory. */
  dispose(): void;
}

/** Tokens of a sequence that a model is loaded for; for a longer one, up to the model's own, it makes room. */
const FIRST_POSITIONS = 2048;

/**
 * Loads a causal language model, frozen: a folder, a hub id, or an adapter's folder over its base.
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadPolicy(name: string): Promise<LoadedModel> {
  await openGpu();
  const { policy, tokenizer } = await load(name, "frozen", { mostPositions: FIRST_POSITIONS });
  /** Another call may still be reading them. */
  const outgrown: Tensor[] = [];
  const cover = (positions: number) => void outgrown.push(...coverPositions(policy, positions));
  const encode = async (prompts: readonly GivenPrompt[], config: PromptSettings): Promise<Prompt[]> => {
    const { rows } = promptsOf(prompts, "prompts", "prompt");
    return encodePrompts(await promptFormatOf(tokenizer, config), rows!, {
      maxPromptLength: config.max_prompt_length,
    });
  };
  return {
    tokenizer,
    async generate(prompts, { temperature = 0, num_generations: groupSize = 1, ...settings } = {}) {
      // The schema knows no greedy sampling and no groups of one: its other settings are checked without these.
      const config = settingsOf("generate()", settings, {});
      requireAbove("temperature", temperature, 0);
      if (!Number.isInteger(groupSize)) {
        throw new RangeError(`num_generations must be whole, got ${groupSize}`);
      }
      requireAbove("num_generations", groupSize, 1);
      const encoded = await encode(prompts, config);
      const stopStrings = stopStringsOf(config.stop_strings, encoded[0].layout);
      const longest = encoded.reduce((most, { ids }) => Math.max(most, ids.length), 0);
      cover(longest + config.max_completion_length);
      const generator = createGenerator(policy, {
        ...samplingOptions(policy, config),
        temperature,
        keepsLogprobs: false,
      });
      try {
        const made = await generator.generate({
          prompts: encoded.map(({ ids }) => ids),
          groupSize,
          seed: config.seed,
          step: 0,
          findStop: findStopIn(tokenizer, stopStrings),
        });
        return made.map(({ tokens, end }, i) => {
          const whole = tokenizer.decode(tokens, { skipSpecialTokens: true });
          const { text } = trimAtStopString(whole, stopStrings);
          return { tokens, end, promptIndex: Math.floor(i / groupSize), completion: text };
        });
      } finally {
        generator.dispose();
      }
    },
    async logprobs(prompt, completion) {
      const config = settingsOf("logprobs()", { max_prompt_length: policy.config.maxPositions }, {});
      const [{ ids }] = await encode([prompt], config);
      const tokens = typeof completion === "string"
        ? [...tokenizer.encodeWithoutSpecial(completion), tokenizer.eosId]
        : [...completion];
      assertTokens(tokens, policy.config.vocabSize);
      const read = ids.length + tokens.length - 1; // nothing is predicted from the last
      assertPositions(read, policy.config.maxPositions);
      cover(read);
      const logprobs = tf.tidy(() => {
        const { sequences, picked, targets } = uploadMicroBatch([{ prompt: { ids }, tokens }]);
        return policyLogprobs(policy, sequences, { picked, targets, temperature: 1 })[0];
      });
      try {
        return { tokens, logprobs: Array.from(await readTensor(logprobs)).slice(0, tokens.length) };
      } finally {
        logprobs.dispose();
      }
    },
    dispose() {
      disposePolicyWeights(policy);
      disposeTrunk(policy);
      tf.dispose(outgrown);
      trimPool();
    },
  };
}

function requireAbove(name: string, value: number, least: number): void {
  if (Number.isFinite(value) && value >= least) return;
  throw new RangeError(`${name} must be a number >= ${least}, got ${value}`);
}

function assertPositions(tokens: number, most: number): void {
  if (tokens <= most) return;
  throw new RangeError(
    `Prompt and completion take ${tokens} positions, and the model has ${most}; give shorter ones`,
  );
}

function assertTokens(tokens: readonly number[], vocabSize: number): void {
  if (tokens.length === 0) {
    throw new RangeError("A completion of no tokens has no log-probs; give at least one");
  }
  const wrong = tokens.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (wrong !== undefined) {
    throw new RangeError(`Token ids must be whole numbers from 0 to ${vocabSize - 1}, got ${wrong}`);
  }
}
