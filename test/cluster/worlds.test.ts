/**
 * The quickstart trained by 1, 2 and 4 ranks on the same batches: the same run.
 *
 *   npm run test:cluster -- --file worlds               six steps, with groups that lie across four ranks
 *   STEPS=90 npm run test:cluster -- --file worlds      the whole quickstart on four ranks, too: does it become safe?
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import type { Sample } from "../../src/tracking/samples.ts";
import { rowsIn } from "../gpu/tiny_run.ts";
import { relativeFrobenius } from "../parity/line.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { startRanks } from "./ranks_program.ts";

const COMPLETIONS = 64;
const STEPS = 6;
const WHOLE_STEPS = Number(process.env.STEPS ?? 0);
const [MINUTES_MS, HOUR_MS] = [4 * 60_000, 60 * 60_000];

/** Of the evaluation's answers, at the end of the whole quickstart. */
const SAFE_RATIO = 0.9;

/** Ranks add up their own gradients and then each other's, one process adds all in a row. */
const TOLERANCE = { gradNorm: 1e-6, parameters: 1e-3 };
/** While weights differ in their last bits alone, no sampled token does. */
const SAME_STEPS = 3;

const runIn = (folder: string) => join(folder, "beta0.02_seed42_unified");

async function train(folder: string, ranks: number, settings: readonly string[], deadlineMs: number) {
  const set = [
    `output_dir=${folder}`,
    `per_device_train_batch_size=${COMPLETIONS / ranks}`,
    ...settings,
  ].flatMap((setting) => ["--set", setting]);
  const args = ["train", "--config", "configs/quickstart.yaml", ...set];
  const { code, output } = await startRanks(ranks, "src/cli/main.ts", args, { deadlineMs }).finished;
  assert.equal(code, 0, output);
}

function samplesOf(folder: string, step: number): Sample[] {
  const text = readFileSync(join(runIn(folder), "samples", `train_${step}.jsonl`), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line) as Sample);
}

async function weightsIn(run: string): Promise<Map<string, Float32Array>> {
  const reader = await openSafetensors(join(run, "model.safetensors"));
  const weights = new Map<string, Float32Array>();
  for (const [name, { dtype }] of reader.tensors) {
    weights.set(name, bytesToF32(await reader.read(name), dtype));
  }
  await reader.close();
  return weights;
}

/** |these - those| over |those - start|, over all weights. */
async function changeError(these: string, those: string): Promise<number> {
  const [own, other, start] = await Promise.all(
    [runIn(these), runIn(those), "models/quickstart/policy"].map(weightsIn),
  );
  const changes = (weights: typeof own) =>
    [...start].flatMap(([name, values]) => Array.from(values, (value, i) => weights.get(name)![i] - value));
  return relativeFrobenius(changes(own), changes(other));
}

/** Two prompts, so that four ranks have half a group each. */
const SETTINGS = [
  `num_generations=${COMPLETIONS / 2}`,
  `max_steps=${STEPS}`,
  "save_steps=0",
  "eval_jsonl=null",
  "debug_log_every=1",
  "eval_on_start=false",
  "max_completion_length=16",
  `debug_log_n_samples=${COMPLETIONS}`,
];

/** Holds a run of several ranks to that of one. @returns what was measured, in words */
async function assertSameSteps(several: string, one: string): Promise<string> {
  for (let step = 1; step <= SAME_STEPS; step++) {
    assert.equal(samplesOf(one, step).length, COMPLETIONS);
    assert.deepEqual(samplesOf(several, step), samplesOf(one, step), `completions of step ${step}`);
  }
  const [rows, expected] = [several, one].map((folder) => rowsIn(runIn(folder)));
  const lambdas = (of: typeof rows) => of.slice(0, SAME_STEPS).map((row) => row["lambda/value"]);
  assert.deepEqual(lambdas(rows), lambdas(expected));
  const off = Math.abs(rows[0].grad_norm! / expected[0].grad_norm! - 1);
  assert.ok(off <= TOLERANCE.gradNorm, `gradient norms of step 1 differ by ${off}`);
  const error = await changeError(several, one);
  assert.ok(error <= TOLERANCE.parameters, `weights differ by ${error} of their change`);
  return `gradient norm of step 1 off by ${off.toExponential(1)}, all weights by ${
    error.toExponential(1)
  } of their change`;
}

describe("the quickstart by several ranks", () => {
  it(`makes the steps of one process with 2 and with 4: completions, lambda, gradients, weights`, () =>
    withScratchFolder(async (dir) => {
      const folderOf = (ranks: number) => join(dir, `${ranks}`);
      for (const ranks of [1, 2, 4]) await train(folderOf(ranks), ranks, SETTINGS, MINUTES_MS);
      for (const ranks of [2, 4]) {
        console.log(`${ranks} ranks: ${await assertSameSteps(folderOf(ranks), folderOf(1))}`);
      }
    }));

  if (WHOLE_STEPS > 0) {
    it(`ends safe after ${WHOLE_STEPS} steps on 4`, () =>
      withScratchFolder(async (dir) => {
        await train(dir, 4, [`max_steps=${WHOLE_STEPS}`], HOUR_MS);
        const evaluations = rowsIn(runIn(dir)).flatMap((row) => row["eval/safe_ratio"] ?? []);
        console.log(`eval safe ${evaluations.map((ratio) => ratio.toFixed(3)).join(" -> ")}`);
        assert.ok(evaluations.at(-1)! >= SAFE_RATIO, `${evaluations.at(-1)} of the answers are safe`);
      }));
  }
});
