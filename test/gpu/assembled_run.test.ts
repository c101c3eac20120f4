/** Runs and evaluations as a program of somebody else's puts them together: no command, no terminal. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it, mock } from "node:test";
import { evaluateModel, writeEvaluation } from "../../src/assembly/evaluation.ts";
import { assembleRun } from "../../src/assembly/run.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { matrixUnitsMissing } from "../../src/gpu/precision.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import { bytesToF32, f32ToBytes } from "../../src/io/tensors/dtype.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { AUTO_PRECISION, settledPrecision } from "../../src/policy/precision.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { leftOut } from "../left_out.ts";
import { ROOT } from "../unit/source_files.ts";

before(async () => void await openGpu());
after(closeGpu);

/** Bytes that something else in this process took before. */
const LARGER_RUN = 2 ** 26;

/** The embedded models, one step of few and short completions. */
const configIn = (output_dir: string): RunConfig => ({
  ...defaultConfig(),
  output_dir,
  beta: 0.02,
  eval_jsonl: null,
  num_generations: 2,
  per_device_train_batch_size: 2,
  gradient_accumulation_steps: 1,
  max_completion_length: 4,
  max_steps: 1,
});

/** What `body` says on standard output, and the bytes that it leaves on the GPU. */
async function leftBy(body: () => Promise<void>): Promise<{ said: string; bytes: number }> {
  const { memory } = await openGpu();
  trimPool();
  const before = memory().liveBytes;
  let said = "";
  const write = mock.method(process.stdout, "write", (part: unknown) => {
    if (typeof part === "string") said += part; // a test runner reports in bytes
    return true;
  });
  try {
    await body();
  } finally {
    write.mock.restore();
  }
  trimPool();
  return { said, bytes: memory().liveBytes - before };
}

/** Shapes stay on the GPU, in cached uniforms of a few bytes; the smallest model takes 280 kB. */
function assertQuietAndFree({ said, bytes }: Awaited<ReturnType<typeof leftBy>>): void {
  assert.equal(said, "");
  assert.ok(bytes < 16_384, `${bytes} bytes`);
}

describe("assembleRun()", () => {
  it("trains in a folder of its own, tells whoever listens, says nothing itself and frees what it loaded", () =>
    withScratchFolder(async (folder) => {
      const told: string[] = [];
      emptyTensor([LARGER_RUN / 4]).dispose();
      const left = await leftBy(async () => {
        const run = await assembleRun(configIn(folder));
        assert.equal(run.facts.runDir, join(folder, "beta0.02_seed42_unified"));
        assert.ok(!existsSync(run.facts.runDir), "nothing is written before the run trains");
        const trained = await run.train({
          onStart: (firstStep, steps) => told.push(`from ${firstStep} to ${steps}`),
          onStep: ({ step }) => told.push(`step ${step}`),
          onEvaluation: () => told.push("evaluation"),
          onMessage: (text) => told.push(text),
        });
        assert.ok(trained.finished);
        assert.ok(trained.peakBytes < LARGER_RUN, "that of a run before does not count");
        assert.ok(trained.peakBytes > 0 && trained.peakBytes <= 1.1 * run.facts.memory.plan.peakBytes);
        assert.ok(existsSync(join(run.facts.runDir, "model.safetensors")));
        const saved = JSON.parse(readFileSync(join(run.facts.runDir, "run_config.json"), "utf8"));
        const settled = settledPrecision(configIn(folder));
        for (const key of Object.keys(AUTO_PRECISION) as (keyof typeof AUTO_PRECISION)[]) {
          assert.equal(run.config[key], settled[key]);
          assert.equal((saved.config ?? saved)[key], settled[key], `${key} in run_config.json`);
        }
        await run.close();
      });
      assert.deepEqual(told, ["from 1 to 1", "step 1"]);
      assertQuietAndFree(left);
    }));

  it("frees the policy where the file of the scorer's address holds none", () =>
    withScratchFolder(async (folder) => {
      writeFileSync(join(folder, "scorer.url"), "ftp://elsewhere\n");
      const config = { ...configIn(folder), scorer_url: `file:${join(folder, "scorer.url")}` };
      const left = await leftBy(async () => {
        await assert.rejects(assembleRun(config), /need http:\/\/ or https:\/\/ in front/);
      });
      assertQuietAndFree(left);
    }));

  it("asks a scorer before it looks for a model, let alone loads one", () =>
    withScratchFolder(async (folder) => {
      const config = {
        ...configIn(folder),
        model_name: "/no/such/model",
        scorer_url: "http://127.0.0.1:9",
        scorer_retry_max_s: 0,
      };
      for (const start of [assembleRun, evaluateModel]) {
        await assert.rejects(start({ ...config, eval_jsonl: "none" }), { name: "ScorerUnavailableError" });
      }
    }));
});

/** A folder of this repository's with a value in the last tensor of its weights in the place of its own. */
async function spoiledModel(from: string, to: string, spoil: (values: Float32Array, name: string) => void) {
  await cp(from, to, { recursive: true });
  const path = join(to, "model.safetensors");
  const reader = await openSafetensors(path);
  const tensors = await Promise.all([...reader.tensors].map(async ([name, { dtype, shape }]) => {
    const values = bytesToF32(await reader.read(name), dtype as "F32");
    spoil(values, name);
    return { name, dtype: "F32" as const, shape, bytes: () => Promise.resolve(f32ToBytes(values, "F32")) };
  }));
  await reader.close();
  await writeSafetensors(path, tensors);
  return to;
}

describe("a model whose numbers are none", () => {
  const MODELS = join(ROOT, "models/quickstart");
  const NORM = "model.norm.weight";
  const nanAt = (tensor: string, place: number) => (values: Float32Array, name: string) => {
    if (name === tensor) values[place] = NaN;
  };

  it("is not loaded, to train, evaluate or score: the error names file, tensor, count and place", () =>
    withScratchFolder(async (folder) => {
      for (const [key, part] of [["model_name", "policy"], ["cost_model", "cost"]] as const) {
        const model = await spoiledModel(join(MODELS, part), join(folder, part), nanAt(NORM, 7));
        const config = { ...configIn(folder), [key]: model, eval_jsonl: defaultConfig().eval_jsonl };
        const left = await leftBy(async () => {
          for (const start of [assembleRun, evaluateModel]) {
            await assert.rejects(start(config), (error: Error) => {
              assert.equal(error.name, "NonfinitePolicyError");
              assert.match(
                error.message,
                /"model.norm.weight" \[\d+\] holds 1, the first at \[7\] NaN or infinite/,
              );
              assert.ok(error.message.startsWith(`${join(model, "model.safetensors")}: `), error.message);
              return true;
            });
          }
        });
        assert.ok(left.bytes < 16_384, `${left.bytes} bytes`);
      }
    }));

  it("is not evaluated where its weights are numbers and its logits are not", () =>
    withScratchFolder(async (folder) => {
      const model = await spoiledModel(join(MODELS, "policy"), join(folder, "policy"), (values, name) => {
        if (name === NORM) values.fill(3e38);
      });
      await assert.rejects(
        evaluateModel({ ...configIn(folder), model_name: model, eval_jsonl: defaultConfig().eval_jsonl }),
        /^NonfinitePolicyError: Cannot evaluate '.*policy': The policy's logits are NaN or infinite where token 1 of comp/,
      );
    }));
});

describe("evaluateModel()", () => {
  it("multiplies as the run's settings say", async (test) => {
    if (matrixUnitsMissing() === undefined) {
      return test.skip(leftOut(test.name, "this device has matrix units"));
    }
    const config = { ...configIn("nowhere"), eval_jsonl: "none", matmul_precision: "float16" as const };
    await assert.rejects(evaluateModel(config), /Cannot multiply matrices in float16 on this device/);
  });

  it("gives the means and every sample, says nothing itself and frees what it loaded", () =>
    withScratchFolder(async (folder) => {
      const config = { ...configIn(folder), eval_jsonl: defaultConfig().eval_jsonl };
      const left = await leftBy(async () => {
        const evaluated = await evaluateModel(config);
        assert.equal(evaluated.summary["eval/total_samples"], evaluated.samples.length);
        await writeEvaluation(folder, evaluated);
        assert.deepEqual(JSON.parse(readFileSync(join(folder, "eval.json"), "utf8")), evaluated.summary);
      });
      assertQuietAndFree(left);
    }));
});
