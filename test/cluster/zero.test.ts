/** ZeRO-2 over MPI, all weights of models of 17M and 40M parameters: what is sent, and what memory it takes. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeRandomLlama } from "../../bench/random_llama.ts";
import { startRanks } from "./ranks_program.ts";
import type { Measured } from "./zero_rank.ts";

const SHAPE = { hidden: 512, intermediate: 1408, heads: 8, kvHeads: 8, vocab: 1024 };
/** Layers; the gradients of two of the many are a sixth of all. */
const [SHALLOW, DEEP] = [5, 12];
const modelOf = (layers: number) => join(dir, `${layers}`);
const PROMPT = "How do I light the candles?";
const STEPS = 2;

/** Of four ranks that share two cores; alone they take half a minute. */
const MOST_MS = 400_000;

/** Of the formula; headers, scores and texts are the rest. */
const TOLERANCE = 0.05;

let dir: string;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "grpo-webgpu-zero-"));
  for (const layers of [SHALLOW, DEEP]) {
    const model = modelOf(layers);
    mkdirSync(model);
    await writeRandomLlama(model, { ...SHAPE, layers }, 1);
    for (const name of readdirSync("models/quickstart/policy").filter((name) => /token/.test(name))) {
      cpSync(join("models/quickstart/policy", name), join(model, name));
    }
  }
  writeFileSync(join(dir, "prompts.jsonl"), `${JSON.stringify({ prompt: PROMPT })}\n`.repeat(8));
});
after(() => rmSync(dir, { recursive: true, force: true }));

async function train(
  folder: string,
  settings: readonly string[] = [],
  layers = SHALLOW,
): Promise<Measured[]> {
  const ranks = 4;
  const { code, output } = await startRanks(ranks, "test/cluster/zero_rank.ts", [
    modelOf(layers),
    join(dir, folder),
    `train_jsonl=${join(dir, "prompts.jsonl")}`,
    "eval_jsonl=null",
    "num_generations=4",
    `per_device_train_batch_size=${8 / ranks}`,
    "gradient_accumulation_steps=1",
    "max_completion_length=16",
    "readback_every=16",
    // No token of these ends a completion, so that all are as long as may be.
    "eos_token_ids=1000",
    "stop_strings=[]",
    "beta=0.02",
    "learning_rate=1e-4",
    "save_steps=1",
    "check_ranks_every=1",
    `max_steps=${STEPS}`,
    ...settings,
  ], { deadlineMs: MOST_MS }).finished;
  assert.equal(code, 0, output);
  return [...output.matchAll(/^measured (.*)$/gm)].map(([, json]) => JSON.parse(json) as Measured)
    .sort((a, b) => a.rank - b.rank);
}

function assertNear(actual: number, expected: number, name: string): void {
  const off = actual / expected - 1;
  console.log(`${name}: ${actual} of ${expected}, ${(100 * off).toFixed(2)} %`);
  assert.ok(
    Math.abs(off) <= TOLERANCE,
    `${name} is ${actual}, not ${expected}: off by ${(100 * off).toFixed(1)} %`,
  );
}

/** Bytes that a rank sends in a step: reduce-scatter of all gradients, all-gather of all weights. */
const formula = (parameters: number, ranks: number, bytes: { gradient: number; weight: number }) =>
  (ranks - 1) / ranks * parameters * (bytes.gradient + bytes.weight);

describe("ZeRO-2 on four ranks", () => {
  it("sends every gradient and every weight once a step, and takes the memory that was planned", async () => {
    const measured = await train("whole");
    assert.equal(measured.length, 4);
    for (const { rank, plannedBytes, peakBytes, sentBytes, parameters } of measured) {
      const expected = formula(parameters, 4, { gradient: 4, weight: 4 });
      for (const sent of sentBytes) assertNear(sent, expected, `bytes sent by rank ${rank}`);
      assertNear(peakBytes, plannedBytes, `bytes taken by rank ${rank}`);
    }
  });

  it("sends half of that in bfloat16", async () => {
    const measured = await train("half", ["dtype=bfloat16"]);
    for (const { rank, plannedBytes, peakBytes, sentBytes, parameters } of measured) {
      const expected = formula(parameters, 4, { gradient: 2, weight: 2 });
      for (const sent of sentBytes) assertNear(sent, expected, `bytes sent by rank ${rank}`);
      assertNear(peakBytes, plannedBytes, `bytes taken by rank ${rank}`);
    }
  });

  it("sums gradients layer by layer where whole ones have no room, in as many passes as there are", async () => {
    const settings = [
      "gpu_memory_gib=0.85",
      "per_device_train_batch_size=1",
      "gradient_accumulation_steps=2",
    ];
    for (const measured of await train("layered", settings, DEEP)) {
      const { rank, plannedBytes, peakBytes, sentBytes, parameters, sumsLayers } = measured;
      assert.equal(sumsLayers, true);
      assert.ok(peakBytes <= 0.85 * 2 ** 30, `rank ${rank} has taken ${peakBytes}`);
      // Both completions are one pass, and their prompt another.
      const expected = formula(parameters, 4, { gradient: 2 * 4, weight: 4 });
      for (const sent of sentBytes) assertNear(sent, expected, `bytes sent by rank ${rank}`);
      assertNear(peakBytes, plannedBytes, `bytes taken by rank ${rank}`);
    }
  });
});
