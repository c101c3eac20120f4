/** Runs that are killed or asked to stop at a known point, and the same command again. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { PairsRequest } from "../../src/scorer/protocol.ts";
import { type HeldScorer, startHeldScorer } from "./held_scorer.ts";
import {
  assertSameRun,
  checkpointManifest,
  checkpointSteps,
  finalFiles,
  metricRows,
  type Program,
  RUN,
  startProgram,
  succeed,
  trainArgs,
} from "./program.ts";

let scorer: HeldScorer;
let folder: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "grpo-e2e-"));
  scorer = await startHeldScorer();
});
after(async () => {
  await scorer.close();
  rmSync(folder, { recursive: true, force: true });
});

const folderOf = (name: string) => join(folder, name, RUN);

function argsOf(name: string, settings: Record<string, unknown> = {}): string[] {
  return trainArgs(join(folder, name), { scorer_url: scorer.url, max_steps: 4, ...settings });
}

/** Starts the program and waits until it asks for the scores of a generation batch, which it does not get. */
async function startHeld(args: string[], request: number): Promise<Program> {
  scorer.taken();
  scorer.holdAt(request);
  const program = startProgram(args);
  await scorer.holds(program);
  return program;
}

/** Kills the program in the generation batch of this number of its own. @returns what it had asked for */
async function killIn(args: string[], request: number): Promise<PairsRequest[]> {
  const { signal, finished } = await startHeld(args, request);
  signal("SIGKILL");
  assert.notEqual((await finished).code, 0);
  scorer.release();
  return scorer.taken();
}

/** Runs the command to its end. @returns its output and what it asked for */
async function runOn(args: string[]): Promise<{ output: string; asked: PairsRequest[] }> {
  scorer.taken();
  scorer.release(); // what a test that failed may have left held
  const output = await succeed(args);
  return { output, asked: scorer.taken() };
}

const stepsBanner = (output: string) => /^steps +(.*)$/m.exec(output)?.[1];

describe("a run of all weights", () => {
  let whole: string;
  let asked: PairsRequest[];
  before(async () => {
    ({ asked } = await runOn(argsOf("whole")));
    whole = folderOf("whole");
    assert.equal(asked.length, 4);
  });

  it("killed twice and started again asks only for what is missing, and equals one never killed, bit for bit", async () => {
    const args = argsOf("killed"), killed = folderOf("killed");
    assert.deepEqual(await killIn(args, 2), asked.slice(0, 2));
    assert.deepEqual(checkpointSteps(killed), [], "killed before the first checkpoint");
    // It began again, with the scores that it had been given: its third request is the last step's.
    assert.deepEqual(await killIn(args, 3), asked.slice(1), "step 1 was answered");
    assert.deepEqual(checkpointSteps(killed), [2]);
    assert.deepEqual(
      metricRows(killed).map(({ step }) => step),
      [1, 2, 3],
      "step 3 is done, and will be lost",
    );
    assert.deepEqual(finalFiles(killed), []);
    const last = await runOn(args);
    assert.equal(stepsBanner(last.output), "3 to 4 (resumed)");
    assert.deepEqual(last.asked, asked.slice(3), "step 3 was answered");
    assertSameRun(killed, whole);
  });

  it("at SIGTERM does the step in progress, saves it, says how to go on and ends with 143; and goes on", async () => {
    const args = argsOf("stopped", { save_steps: 0 }), stopped = folderOf("stopped");
    const program = await startHeld(args, 2);
    program.signal("SIGTERM");
    await program.says(
      /^SIGTERM: finishing this step and saving; once more saves at once and loses the step/m,
    );
    assert.deepEqual(checkpointSteps(stopped), [], "the step goes on");
    scorer.release();
    const { code, output } = await program.finished;
    assert.equal(code, 143, output);
    assert.match(output, /^Stopped after step 2; the same command goes on from there\.$/m);
    assert.deepEqual(scorer.taken(), asked.slice(0, 2));
    assert.deepEqual(checkpointSteps(stopped), [2]);
    assert.equal(checkpointManifest(stopped, 2), checkpointManifest(whole, 2));
    assert.deepEqual(finalFiles(stopped), []);
    const rest = await runOn(args);
    assert.equal(stepsBanner(rest.output), "3 to 4 (resumed)");
    assert.deepEqual(rest.asked, asked.slice(2));
    assertSameRun(stopped, whole);
  });

  it("at a later second signal gives up the step in progress; a damaged checkpoint is named and passed over", async () => {
    const args = argsOf("ended", { save_steps: 1 }), ended = folderOf("ended");
    const program = await startHeld(args, 3);
    program.signal("SIGTERM");
    await program.says(/^SIGTERM: finishing/m);
    program.signal("SIGTERM"); // at once, as npm and a process group both hand it on: no second one
    await wait(1100);
    assert.doesNotMatch(program.said(), /giving up/);
    program.signal("SIGINT");
    const patience = setTimeout(scorer.release, 60_000); // a program that ignores it then goes on, and fails this test
    const { code, output } = await program.finished; // the scores of step 3 are still held
    clearTimeout(patience);
    assert.equal(code, 143, output);
    assert.match(output, /^SIGINT: giving up the step in progress and saving the one before/m);
    assert.match(output, /^Gave up the step in progress: asked to end at once$/m);
    assert.match(output, /^Stopped after step 2; the same command goes on from there\.$/m);
    scorer.release();
    assert.deepEqual(checkpointSteps(ended), [1, 2]);
    assert.deepEqual(finalFiles(ended), []);
    const weights = join(ended, "checkpoint-2", "model.safetensors");
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(weights, bytes);
    const rest = await runOn(args);
    assert.match(rest.output, /^Skipped .*checkpoint-2: .*model\.safetensors is damaged/m);
    assert.equal(stepsBanner(rest.output), "2 to 4 (resumed)");
    assert.deepEqual(rest.asked, asked.slice(1));
    assertSameRun(ended, whole);
  });

  it("whose scorer goes away ends with the documented line and a checkpoint of the last whole step", async () => {
    const passing = await startHeldScorer();
    const settings = { scorer_url: passing.url, scorer_retry_max_s: 1, save_steps: 0 };
    passing.holdAt(3);
    const program = startProgram(argsOf("left", settings));
    await passing.holds(program);
    await passing.close();
    const { code, output } = await program.finished;
    assert.equal(code, 75, output);
    assert.match(output, new RegExp(`^❌ ERROR: Scorer API at ${passing.url} is not responding`, "m"));
    assert.doesNotMatch(output, /No checkpoint of step/);
    const left = folderOf("left");
    assert.deepEqual(checkpointSteps(left), [2]);
    assert.equal(checkpointManifest(left, 2), checkpointManifest(whole, 2), "weights, optimizer, lambda");
    assert.deepEqual(finalFiles(left), []);
  });
});

it("with several steps per generation and bf16 weights: one row for each generation, and killed equals whole", async () => {
  const settings = {
    steps_per_generation: 4,
    num_iterations: 2,
    max_steps: 12,
    save_steps: 3,
    dtype: "bfloat16",
  };
  const { asked } = await runOn(argsOf("whole_bf16", settings));
  const rows = metricRows(folderOf("whole_bf16"));
  assert.deepEqual(rows.map(({ step }) => step), [4, 8, 12]);
  assert.ok(rows.every((row) => row["clip_ratio/high_max"]! > 0), "later steps are off-policy");
  assert.equal(asked.length, 3);
  const args = argsOf("killed_bf16", settings), killed = folderOf("killed_bf16");
  assert.deepEqual(await killIn(args, 3), asked);
  assert.deepEqual(checkpointSteps(killed), [4, 8], "each generation batch held a multiple of 3");
  const last = await runOn(args);
  assert.equal(stepsBanner(last.output), "9 to 12 (resumed)");
  assert.deepEqual(last.asked, asked.slice(2));
  assertSameRun(killed, folderOf("whole_bf16"));
});

describe("a run of adapters", () => {
  const settings = {
    use_peft: true,
    lora_target_modules: ["q_proj", "down_proj"],
    lora_r: 3,
    lora_merge: true,
  };
  let whole: string;
  let asked: PairsRequest[];
  before(async () => {
    ({ asked } = await runOn(argsOf("whole_lora", settings)));
    whole = folderOf("whole_lora");
  });

  it("killed and started again asks only for what is missing, and equals one never killed; another rank is refused", async () => {
    const args = argsOf("killed_lora", settings), killed = folderOf("killed_lora");
    await killIn(args, 4);
    assert.deepEqual([checkpointSteps(killed), finalFiles(killed)], [[2], []]);
    const moved = startProgram([...args, "--set", "lora_r=4"]);
    const { code, output } = await moved.finished;
    assert.equal(code, 1, output);
    assert.match(output, /Cannot resume .*lora_r: checkpoint 3, now 4/);
    const { r } = JSON.parse(readFileSync(join(killed, "adapter_config.json"), "utf8"));
    assert.equal(r, 3, "the refused run left the folder as it was");
    const last = await runOn(args);
    assert.equal(stepsBanner(last.output), "3 to 4 (resumed)");
    assert.deepEqual(last.asked, asked.slice(3), "step 3 was answered");
    assertSameRun(killed, whole);
    const adapterOf = (dir: string) => readFileSync(join(dir, "adapter_model.safetensors"));
    assert.ok(adapterOf(join(killed, "checkpoint-4")).equals(adapterOf(killed)));
    for (const name of ["model.safetensors", "pytorch_model.bin", "config.json"]) {
      assert.ok(!existsSync(join(killed, name)), `${name} is not written for an adapter`);
    }
  });

  it("at SIGINT ends with 130 after the step in progress, without final adapter and merged model; and goes on", async () => {
    const args = argsOf("stopped_lora", settings), stopped = folderOf("stopped_lora");
    const program = await startHeld(args, 3);
    program.signal("SIGINT");
    await program.says(/^SIGINT: finishing this step and saving; once more saves at once/m);
    scorer.release();
    const { code, output } = await program.finished;
    assert.equal(code, 130, output);
    assert.match(output, /^Stopped after step 3; the same command goes on from there\.$/m);
    assert.deepEqual([checkpointSteps(stopped), finalFiles(stopped)], [[2, 3], []]);
    const rest = await runOn(args);
    assert.equal(stepsBanner(rest.output), "4 to 4 (resumed)");
    assert.deepEqual(rest.asked, asked.slice(3));
    assertSameRun(stopped, whole);
  });

  it("that is complete and asked for a merged model after all writes it, and samples nothing", async () => {
    await runOn(argsOf("later_lora", { ...settings, lora_merge: false }));
    const later = folderOf("later_lora");
    assert.deepEqual(finalFiles(later), ["adapter_model.safetensors"]);
    const { output, asked: again } = await runOn(argsOf("later_lora", settings));
    assert.match(output, /^Merged: .*\nNothing left to do: .* is complete at step 4/m);
    assert.deepEqual(again, []);
    assertSameRun(later, whole);
  });

  it("is evaluated from its folder, as adapter and as merged model", async () => {
    for (const model of [whole, join(whole, "merged")]) {
      const evaluation = ["--set", `model_name=${model}`, "--set", "max_completion_length=8"];
      const output = await succeed(["eval", ...evaluation, "--output", join(folder, "eval")]);
      assert.match(output, /"eval\/total_samples": 64/);
    }
  });
});
