/** Every completion of a step with all that is known of it: rollouts/{step}.jsonl.gz in a run's folder. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { End } from "../rl/ends.ts";
import type { StepRecord } from "./metrics.ts";
import { namedScores, type Sample, type Texts } from "./samples.ts";
import { stepAdvantages } from "./step_advantages.ts";

/** What sampling knows of a completion beside its text. */
export interface SampledCompletion {
  prompt_ids: readonly number[];
  /** Up to and including the end token or stop string. */
  completion_ids: readonly number[];
  /** Of each token as decoding computed them, nats; null where they were not kept. */
  logprobs: readonly number[] | null;
  /** Likewise under the reference policy; null where there is none. */
  ref_logprobs: readonly number[] | null;
  end: End;
  /** That its cost was weighed with; of several costs, each by its name. */
  lambda: number | Readonly<Record<string, number>>;
}

/** One line of the file. A score that was not given is null in it. */
export interface RolloutRecord extends SampledCompletion {
  /** The last optimizer step made of it. */
  step: number;
  /** Its place among the completions of all ranks; those of a prompt are adjacent. */
  index: number;
  prompt: string;
  /** What the scorer read: without end token and stop string. */
  completion: string;
  /** Tokens. */
  length: number;
  reward: number;
  cost: number;
  combined: number;
  /** Of its group, as the formula gives it in f64. */
  advantage: number;
  scores?: Sample["scores"];
}

/** All completions of one step. */
export interface StepRollouts {
  step: number;
  rollouts: readonly RolloutRecord[];
}

/** @param sampled of the record's completions, as are the texts */
export function rolloutRecords(
  record: StepRecord,
  { prompts, completions }: Texts,
  sampled: readonly SampledCompletion[],
): RolloutRecord[] {
  const { step, rewards, costs, combined, named } = record;
  const advantages = stepAdvantages(record);
  return sampled.map(({ prompt_ids, completion_ids, logprobs, ref_logprobs, end, lambda }, index) => ({
    step,
    index,
    prompt: prompts[index],
    completion: completions[index],
    end,
    length: completion_ids.length,
    reward: rewards[index],
    cost: costs[index],
    combined: combined[index],
    advantage: advantages[index],
    lambda,
    ...(named && { scores: namedScores(named, index) }),
    prompt_ids,
    completion_ids,
    logprobs,
    ref_logprobs,
  }));
}

/** The folder below a run's. */
export const ROLLOUTS_FOLDER = "rollouts";

/** Name of a step's file. */
export const rolloutsFile = (step: number): string => `${step}.jsonl.gz`;

/** Steps that have a file in the folder, ascending; none where there is no folder. */
export async function stepsWithRollouts(runDir: string): Promise<number[]> {
  const names = await readdir(join(runDir, ROLLOUTS_FOLDER)).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const steps = names.flatMap((name) => /^(\d+)\.jsonl\.gz$/.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}
