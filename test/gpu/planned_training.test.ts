/** Training takes no more GPU memory than its plan says, whatever lengths come by. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { batchShape } from "../../src/config/batch.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { countBuffers } from "../../src/gpu/memory.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { makeLearner } from "../../src/train/learner.ts";
import { planMemory } from "../../src/train/memory_plan.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { FAMILIES, familyPolicy } from "./family_policies.ts";
import { PROMPTS, tinyConfig, tinyRun } from "./tiny_run.ts";

/** Uniforms and the inputs of kept passes, of models of a few kilobytes. */
const SLACK = 1.02;

before(async () => void await openGpu());
after(closeGpu);

/** Three steps whose completions end at other lengths each time, as some stop strings have it. */
const VARIED: Partial<RunConfig> = {
  max_steps: 3,
  num_generations: 4,
  per_device_train_batch_size: 8,
  gradient_accumulation_steps: 2,
  max_completion_length: 40,
  temperature: 2,
  stop_strings: ["t7"],
};

const SETTINGS: Record<string, Partial<RunConfig>> = {
  "with a reference": {},
  "run layer by layer, twice over each batch": {
    gradient_checkpointing: true,
    num_iterations: 2,
    max_steps: 6,
  },
  "in bfloat16 without a reference": { dtype: "bfloat16", beta: 0 },
  "in several steps of a few completions each": {
    num_generations: 2,
    per_device_train_batch_size: 2,
    steps_per_generation: 6,
    max_steps: 12,
  },
};

describe("training of a tiny random model", () => {
  for (const family of ["Qwen2", "Gemma 3"]) {
    for (const [what, settings] of Object.entries(SETTINGS)) {
      it(`${family}, ${what}: takes at the most what was planned`, () =>
        withScratchFolder(async (folder) => {
          const config = tinyConfig({ ...VARIED, ...settings });
          const makePolicy = () => familyPolicy(FAMILIES[family], config.dtype);
          const { peakBytes, parts } = await planMemory(
            {
              makePolicy,
              makeLearner,
              makeScorer: null,
              longestPrompt: PROMPTS.reduce((most, { ids }) => Math.max(most, ids.length), 0),
              longestEvalPrompt: 1,
              evalPrompts: 0,
            },
            config,
            batchShape(config),
            { rowsPerPass: config.per_device_train_batch_size },
          );
          trimPool();
          const memory = countBuffers(tfjsBackend().device);
          const lengths = new Set<unknown>();
          const { error } = await tinyRun(folder, {
            settings: { ...VARIED, ...settings },
            makePolicy,
            onStep: (row) => lengths.add(row["completions/mean_length"]),
          });
          assert.equal(error, null);
          assert.ok(lengths.size > 1, "lengths differ from step to step");
          const taken = memory().peakBytes;
          const kept = parts.find(({ name }) => name === "passes of other sizes")!.bytes;
          assert.ok(taken <= SLACK * peakBytes, `took ${taken} of ${peakBytes} bytes`);
          assert.ok(
            taken >= 0.75 * (peakBytes - kept), // completions of all lengths, of which some end early
            `took ${taken} of ${peakBytes}, ${kept} for other sizes`,
          );
        }));
    }
  }
});
