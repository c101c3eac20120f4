/** What a run logs of its sampler: in float32 exactly nothing, with a rounded cache a little, which it corrects for. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { rowsIn, tinyRun } from "./tiny_run.ts";

/** A run's rows, messages and weights. */
async function ranWith(settings: Partial<RunConfig>) {
  let rows: ReturnType<typeof rowsIn> = [];
  let messages: string[] = [];
  let weights = "";
  await withScratchFolder(async (dir) => {
    const run = await tinyRun(dir, { settings: { max_completion_length: 9, max_steps: 4, ...settings } });
    if (run.error) throw run.error;
    messages = run.messages;
    rows = rowsIn(dir);
    weights = createHash("sha256").update(readFileSync(join(dir, "model.safetensors"))).digest("hex");
  });
  return { rows, messages, weights };
}

const largest = (rows: ReturnType<typeof rowsIn>) => rows.map((row) => row["sampler/logprob_diff_max"]);
const ROUNDED = { kv_cache_dtype: "bfloat16", importance_sampling_mode: "token_truncate" } as const;

describe("what is logged of the sampler", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (
    const [name, settings] of Object.entries<Partial<RunConfig>>({
      "one step of a batch": {},
      "several steps of a batch": { steps_per_generation: 2, num_iterations: 2 },
      "micro-batches of two, a sharp temperature": {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        temperature: 0.3,
      },
    })
  ) {
    it(`is a difference of exactly 0 in float32, and no word to the user: ${name}`, async () => {
      const { rows, messages } = await ranWith({ kv_cache_dtype: "float32", ...settings });
      assert.deepEqual(largest(rows), rows.map(() => 0));
      assert.deepEqual(messages.filter((text) => /sampler/.test(text)), []);
      assert.ok(rows.every((row) => !("sampler/ratio_mean" in row)));
    });
  }

  it("is what a rounded cache costs, with the ratios that weigh the loss for it, and no warning", async () => {
    const { rows, messages, weights } = await ranWith(ROUNDED);
    for (const row of rows) {
      const most = row["sampler/logprob_diff_max"]!;
      assert.ok(most > 1e-5 && most < 0.2, `${most}`);
      assert.ok(row["sampler/logprob_diff_mean"]! > 0 && row["sampler/logprob_diff_mean"]! < most);
      const [low, mean, high] = ["min", "mean", "max"].map((part) =>
        row[`sampler/ratio_${part}` as "sampler/ratio_min"]!
      );
      assert.ok(low < mean && mean < high && low > 0.8 && high < 1.25, `${low} ${mean} ${high}`);
      // The largest difference is that of the lowest or the highest ratio.
      assert.ok(
        Math.abs(Math.max(Math.log(high), -Math.log(low)) - most) < 1e-4 * most + 1e-6,
        `${low} ${high} ${most}`,
      );
    }
    assert.deepEqual(messages.filter((text) => /sampler/.test(text)), []);
    const uncorrected = await ranWith({ ...ROUNDED, importance_sampling_correction: false });
    assert.ok(!("sampler/ratio_mean" in uncorrected.rows[0]));
    assert.equal(largest(uncorrected.rows)[0], largest(rows)[0]);
    assert.notEqual(uncorrected.weights, weights);
    const cut = await ranWith({ ...ROUNDED, importance_sampling_clip_max: 1 });
    assert.deepEqual(cut.rows.map((row) => row["sampler/ratio_max"]), rows.map(() => 1));
    assert.notEqual(cut.weights, weights);
  });

  it("in float32 a correction that is asked for changes no bit of the weights", async () => {
    const [plain, corrected] = [
      await ranWith({ importance_sampling_correction: false }),
      await ranWith({ importance_sampling_correction: true }),
    ];
    assert.equal(corrected.weights, plain.weights);
    assert.deepEqual(corrected.rows.map((row) => row["sampler/ratio_min"]), plain.rows.map(() => 1));
    assert.deepEqual(corrected.rows.map((row) => row["sampler/ratio_max"]), plain.rows.map(() => 1));
  });
});
