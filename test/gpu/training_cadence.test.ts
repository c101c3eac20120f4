/** What a run does every so many optimizer steps, at its end, and which checkpoints it keeps. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openTerminal } from "../../src/cli/terminal/run_terminal.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy, tinySource } from "./tiny_policy.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  PROMPTS,
  rowsIn,
  stepsOf,
  tinyConfig,
  tinyRun,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

const evaluationsOf = (events: readonly string[]): number[] =>
  events.flatMap((event) => /^evaluate (\d+)$/.exec(event)?.[1] ?? []).map(Number);

/** Files of samples/ by their beginning: the steps that they are of. */
function samplesIn(runDir: string, beginning: string): number[] {
  const names = existsSync(join(runDir, "samples")) ? readdirSync(join(runDir, "samples")) : [];
  const steps = names.flatMap((name) => new RegExp(`^${beginning}_(\\d+)\\.json`).exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}

/** How often TensorBoard's file names a tag. */
function countInBoard(runDir: string, tag: string): number {
  const [name] = readdirSync(join(runDir, "runs"));
  return readFileSync(join(runDir, "runs", name), "latin1").split(tag).length - 1;
}

describe("what is due every so many optimizer steps", () => {
  it("happens in the generation batch that holds a multiple of them", () =>
    withScratchFolder(async (dir) => {
      const settings = {
        steps_per_generation: 2,
        num_iterations: 2, // rows at 4, 8, 12, 16, 20
        max_steps: 20,
        save_steps: 6, // 6, 12, 18
        eval_every: 10, // 10, 20
        debug_log_every: 9, // 9, 18
        scatter_every: 7, // 7, 14, and the rest at the end
        hist_every: 13, // 13
      };
      const lines: string[] = [];
      const terminal = openTerminal(
        { write: (text) => lines.push(text), isTTY: false },
        { ...tinyConfig(), logging_steps: 7, debug_print_first: false }, // 7, 14, and the first and the last
        { firstStep: 1, maxSteps: 20 },
      );
      const { events } = await tinyRun(dir, { settings, evaluate: evaluation, onStep: terminal.step });
      assert.deepEqual(stepsOf(events), [4, 8, 12, 16, 20]);
      assert.deepEqual(lines.map((line) => Number(/^step +(\d+)\/20/.exec(line)?.[1])), [4, 8, 16, 20]);
      assert.deepEqual(checkpointsIn(dir), [8, 12, 20]);
      assert.deepEqual(evaluationsOf(events), [12, 20]);
      assert.deepEqual(samplesIn(dir, "train"), [12, 20]);
      assert.deepEqual(samplesIn(dir, "train_scatter"), [8, 16, 20]);
      assert.equal(countInBoard(dir, "helpfulness/dist"), 1);
    }));

  it("with more steps than a generation batch makes does not happen in every batch", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 2, eval_every: 3, debug_log_every: 4, max_steps: 5 };
      const { events } = await tinyRun(dir, { settings, evaluate: evaluation });
      assert.deepEqual(checkpointsIn(dir), [2, 4, 5]);
      assert.deepEqual(evaluationsOf(events), [3, 5]);
      assert.deepEqual(samplesIn(dir, "train"), [4]);
    }));

  it("never happens where it is 0, but once at the end for checkpoint and evaluation", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 0, eval_every: 0, debug_log_every: 0, scatter_every: 0, hist_every: 0 };
      const { events } = await tinyRun(dir, { settings, evaluate: evaluation });
      assert.deepEqual(checkpointsIn(dir), [4]);
      assert.deepEqual(evaluationsOf(events), [4]);
      assert.deepEqual([samplesIn(dir, "train"), samplesIn(dir, "train_scatter")], [[], []]);
      assert.equal(countInBoard(dir, "helpfulness/dist"), 0);
    }));

  it("keeps its rhythm in a run that goes on", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 2, eval_every: 3, debug_log_every: 3, max_steps: 6 };
      const first = await tinyRun(dir, { settings, evaluate: evaluation, stopAfter: 1 });
      const rest = await tinyRun(dir, { settings, evaluate: evaluation });
      assert.deepEqual([...evaluationsOf(first.events), ...evaluationsOf(rest.events)], [3, 6]);
      assert.deepEqual(checkpointsIn(dir), [1, 2, 4, 6]);
      assert.deepEqual(samplesIn(dir, "train"), [3, 6]);
    }));
});

describe("a run's rows", () => {
  it("count steps, tokens, epochs and the learning rate; an epoch samples for every prompt once", () =>
    withScratchFolder(async (dir) => {
      const longest = 4;
      const settings = {
        steps_per_generation: 2,
        num_iterations: 2,
        max_steps: 16,
        max_completion_length: longest,
      };
      const ends = Array.from({ length: 12 }, (_, i) => 5 * i);
      const makePolicy = () => tinyPolicy("float32", tinySource(), { eos_token_id: ends });
      const { asked } = await tinyRun(dir, { settings, makePolicy });
      // Tiny runs write "t12 t3 t60"; the token that ends a completion is no part of its text.
      const wordCount = (text: string) => text.split(" ").filter((word) => word !== "").length;
      const lengths = asked.flatMap(({ completions }) => completions.map(wordCount));
      assert.ok(
        lengths.includes(longest) && lengths.some((length) => length < longest),
        "some end by themselves",
      );
      let tokens = 0;
      const expected = asked.map(({ prompts, completions }, i) => {
        const ofPrompts = prompts.map((user) => PROMPTS.find((prompt) => prompt.user === user)!.ids.length);
        const ofCompletions = completions.map((text) => Math.min(wordCount(text) + 1, longest));
        tokens += [...ofPrompts, ...ofCompletions].reduce((a, b) => a + b, 0);
        const step = 4 * (i + 1);
        // Linear from 0.01 to 0 over 16 steps; the row has the rate of its last step, after step - 1 others.
        return { step, num_tokens: tokens, epoch: (i + 1) / 3, learning_rate: 0.01 * (17 - step) / 16 };
      });
      const rows = rowsIn(dir).map(({ step, num_tokens, epoch, learning_rate }) => (
        { step, num_tokens, epoch, learning_rate }
      ));
      assert.equal(rows.length, 4);
      rows.forEach((row, i) => {
        const { learning_rate, ...counts } = expected[i];
        assert.ok(
          Math.abs(row.learning_rate! / learning_rate - 1) < 1e-12,
          "doubles, by another order of operations",
        );
        assert.deepEqual({ ...row, learning_rate: undefined }, { ...counts, learning_rate: undefined });
      });
      const firstEpoch = asked.slice(0, 3).flatMap(({ prompts }) => [...new Set(prompts)]);
      assert.deepEqual(firstEpoch.sort(), PROMPTS.map(({ user }) => user).sort());
    }));
});

describe("evaluation", () => {
  it("happens once where it is due at the last step, with the lambda of its step, when that is saved", () =>
    withScratchFolder(async (dir) => {
      const lambdas: number[] = [];
      const saved: number[][] = [];
      const evaluate = ([lambda]: readonly number[]) => {
        lambdas.push(lambda);
        saved.push(checkpointsIn(dir));
        return evaluation([lambda]);
      };
      const { events } = await tinyRun(dir, { settings: { eval_every: 2 }, evaluate });
      assert.deepEqual(evaluationsOf(events), [2, 4]);
      const rows = rowsIn(dir);
      const lambdaOf = (step: number) => rows.find((row) => row.step === step)!["lambda/value"];
      assert.deepEqual(lambdas, [lambdaOf(2), lambdaOf(4)]);
      assert.deepEqual(saved, [[1, 2], [1, 2, 3, 4]]);
      assert.deepEqual(
        rows.flatMap((row) => row["eval/mean_combined"] ?? []),
        lambdas.map((lambda) => 1 - 2 * lambda),
      );
    }));

  it("happens before the first step with the first lambda, and not again in a run that goes on", () =>
    withScratchFolder(async (dir) => {
      const lambdas: number[] = [];
      const evaluate = ([lambda]: readonly number[]) => {
        lambdas.push(lambda);
        return evaluation([lambda]);
      };
      const settings = { eval_on_start: true, lambda_cost: 0.3 };
      const first = await tinyRun(dir, { settings, evaluate, stopAfter: 1 });
      assert.deepEqual(first.events, ["describe", "start 1 of 4", "evaluate 0", "step 1"]);
      const { events } = await tinyRun(dir, { settings, evaluate });
      assert.deepEqual(evaluationsOf(events), [4]);
      const rows = rowsIn(dir).filter((row) => row["eval/lambda"] !== undefined);
      assert.deepEqual(rows.map(({ step }) => step), [0, 4]);
      assert.deepEqual(rows.map((row) => row["eval/lambda"]), lambdas);
      assert.equal(lambdas[0], 0.3);
      assert.deepEqual(samplesIn(dir, "eval"), [0, 4]);
    }));

  it("that fails before the first step ends the run without a checkpoint of what it began with", () =>
    withScratchFolder(async (dir) => {
      const evaluate = () => Promise.reject(new Error("no scorer"));
      const { error } = await tinyRun(dir, { settings: { eval_on_start: true }, evaluate });
      assert.equal(error?.message, "no scorer");
      assert.deepEqual(checkpointsIn(dir), []);
    }));

  for (const save_steps of [0, 1]) {
    it(`at the end that a kill cut off is made up for: save_steps ${save_steps}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
        const settings = { save_steps, scatter_every: 3 };
        const evaluate = (lambdas: readonly number[]) => {
          cpSync(whole, killed, { recursive: true });
          return evaluation(lambdas);
        };
        await tinyRun(whole, { settings, evaluate });
        const { events } = await tinyRun(killed, { settings, evaluate: evaluation });
        assert.deepEqual(evaluationsOf(events), [4]);
        assertSameRun(killed, whole);
      }));
  }
});

describe("save_total_limit", () => {
  it("keeps so many of the newest checkpoints; null keeps all", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(join(dir, "two"), { settings: { save_total_limit: 2 } });
      await tinyRun(join(dir, "all"), { settings: { save_total_limit: null } });
      assert.deepEqual(checkpointsIn(join(dir, "two")), [3, 4]);
      assert.deepEqual(checkpointsIn(join(dir, "all")), [1, 2, 3, 4]);
    }));

  it("takes away an old checkpoint only after the new one is there", () =>
    withScratchFolder(async (dir) => {
      const run = await tinyRun(dir, {
        settings: { save_total_limit: 2 },
        // A checkpoint holds a copy of config.json: without it, saving fails.
        onStep: ({ step }) => step === 3 && rmSync(join(dir, "config.json")),
      });
      assert.match(run.error!.message, /Cannot copy .*config\.json/);
      assert.deepEqual(checkpointsIn(dir), [1, 2]);
    }));

  it("lets no damaged checkpoint of a later step push out the one just saved", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { stopAfter: 3 });
      const weights = join(dir, "checkpoint-3", "model.safetensors");
      const bytes = readFileSync(weights);
      bytes[bytes.length - 1] ^= 1; // its size is still right
      writeFileSync(weights, bytes);
      rmSync(join(dir, "checkpoint-2"), { recursive: true });
      const settings = { save_total_limit: 1 };
      const second = await tinyRun(dir, { settings, stopAfter: 1 });
      assert.deepEqual(stepsOf(second.events), [2]);
      assert.deepEqual(checkpointsIn(dir), [2, 3]);
      assert.deepEqual(stepsOf((await tinyRun(dir, { settings })).events), [3, 4]);
      assert.deepEqual(checkpointsIn(dir), [4]);
    }));
});
