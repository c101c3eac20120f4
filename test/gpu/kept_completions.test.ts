/** What a run keeps of its completions, held against what it trained on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readRollouts } from "../../src/assembly/rollouts.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { RolloutRecord } from "../../src/tracking/rollout_records.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { assertSameRun, rowsIn, tinyRun } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

async function keptIn(runDir: string): Promise<RolloutRecord[]> {
  const kept: RolloutRecord[] = [];
  for await (const record of readRollouts(runDir)) kept.push(record);
  return kept;
}

/** Two optimizer steps of a generation batch, whose completions are drawn; each of two micro-batches of two. */
const SETTINGS: Partial<RunConfig> = {
  per_device_train_batch_size: 2,
  gradient_accumulation_steps: 2,
  steps_per_generation: 4,
  log_completions: "all",
};

describe("kept completions", () => {
  it("are those that were scored; the reference's log-probs are each one's own", () =>
    withScratchFolder(async (dir) => {
      const { asked, error } = await tinyRun(dir, { settings: SETTINGS });
      assert.equal(error, null);
      const kept = await keptIn(dir);
      assert.deepEqual(
        kept.map(({ completion }) => completion),
        asked.flatMap(({ completions }) => completions),
      );
      assert.deepEqual(rowsIn(dir).map(({ step }) => step), [2, 4]);
      const isMoved = (record: RolloutRecord) => {
        const { length, completion_ids, logprobs, ref_logprobs } = record;
        const lengths = [completion_ids, logprobs, ref_logprobs].map((list) => list!.length);
        assert.deepEqual(lengths, [length, length, length]);
        return logprobs!.some((value, t) => value !== ref_logprobs![t]);
      };
      // Before the first update policy and reference are one model, and decoding has the bits of training.
      assert.ok(!kept.filter(({ step }) => step === 2).some(isMoved));
      assert.ok(kept.filter(({ step }) => step === 4).every(isMoved));
    }));

  it("cost a run no bit, are the same after a kill, and have no reference where beta is 0", () =>
    withScratchFolder(async (dir) => {
      const [without, whole, killed] = ["without", "whole", "killed"].map((name) => join(dir, name));
      const settings = { ...SETTINGS, beta: 0 };
      await tinyRun(without, { settings: { ...settings, log_completions: "table" } });
      await tinyRun(whole, { settings });
      await tinyRun(killed, { settings, stopAfter: 1 });
      await tinyRun(killed, { settings });
      assertSameRun(whole, without, ["rollouts"]);
      assert.deepEqual(contentsOf(join(killed, "rollouts")), contentsOf(join(whole, "rollouts")));
      assert.ok((await keptIn(whole)).every(({ ref_logprobs }) => ref_logprobs === null));
    }));
});
