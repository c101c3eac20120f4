/** Which completions of a generation batch are a rank's. */
import type { BatchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { promptsOfGeneration } from "../rl/rng.ts";
import type { Prompt } from "./prompts.ts";

interface Batch {
  config: RunConfig;
  communicator: Communicator;
  shape: BatchShape;
  prompts: readonly Prompt[];
}

/**
 * This rank's slice of a generation batch: as many completions as on every rank, in the order of the prompts, so that a
 * group may lie across ranks.
 */
export function sliceOfRank({ config, communicator, shape, prompts }: Batch, generation: number) {
  const { promptsPerGeneration, completionsPerGeneration } = shape;
  const slots = promptsOfGeneration(generation, {
    promptCount: prompts.length,
    promptsPerGeneration,
    seed: config.seed,
  });
  const count = completionsPerGeneration / communicator.size;
  const from = communicator.rank * count;
  const firstPrompt = Math.floor(from / config.num_generations);
  const endPrompt = Math.ceil((from + count) / config.num_generations);
  const first = from - firstPrompt * config.num_generations;
  return {
    prompts: slots.slice(firstPrompt, endPrompt).map((index) => prompts[index]),
    firstPrompt,
    slice: { from: first, to: first + count },
  };
}
