/** What is kept of the completions of a generation batch, where every one is. */
import type { Communicator } from "../parallel/communicator.ts";
import { gatherTexts } from "../parallel/gather.ts";
import type { SampledCompletion } from "../tracking/rollout_records.ts";
import type { GenerationBatchOutcome } from "./generation_batch.ts";

/** Tokens and log-probs of the rollouts of all ranks, each with its rank's lambdas. */
export async function gatherSampled(
  communicator: Communicator,
  { rollouts, refLogprobs, progress, record }: GenerationBatchOutcome,
): Promise<SampledCompletion[]> {
  const values = progress.lambdas.map(({ lambda }) => lambda);
  const { lambdas } = record;
  const lambda = lambdas[0].name === null
    ? values[0]
    : Object.fromEntries(lambdas.map(({ name }, k) => [name, values[k]]));
  const own = rollouts.map(({ prompt, tokens, logprobs, end }, i): SampledCompletion => ({
    prompt_ids: prompt.ids,
    completion_ids: tokens,
    logprobs,
    ref_logprobs: refLogprobs && refLogprobs[i],
    end,
    lambda,
  }));
  if (communicator.size === 1) return own;
  const all = await gatherTexts(communicator, own.map((sampled) => JSON.stringify(sampled)));
  return all.map((text) => JSON.parse(text));
}
