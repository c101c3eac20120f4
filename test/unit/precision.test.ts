/** What `auto` comes to on a device. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import { resumeConflicts, resumeIdentity } from "../../src/config/resume.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import {
  correctsSampler,
  type PrecisionFacts,
  precisionText,
  samplerMayDiffer,
  settledPrecision,
} from "../../src/policy/precision.ts";

const [CONFIG] = sweepRuns(defaultConfig());
const CARD: PrecisionFacts = { isSoftware: false, hasMatrices: true };
const PLAIN_CARD: PrecisionFacts = { isSoftware: false, hasMatrices: false };
const CPU: PrecisionFacts = { isSoftware: true, hasMatrices: true };
const none = (): PrecisionFacts => assert.fail("no device was to be asked");

test("auto is 16 bits on GPUs, matrices of them where there are units for it, and 32 on a CPU that plays one", () => {
  const settled = (device: PrecisionFacts) => {
    const made = settledPrecision(CONFIG, () => device);
    return [made.matmul_precision, made.kv_cache_dtype, made.importance_sampling_correction];
  };
  assert.deepEqual(settled(CARD), ["float16", "float16", true]);
  assert.deepEqual(settled(PLAIN_CARD), ["float32", "float16", true]);
  assert.deepEqual(settled(CPU), ["float32", "float32", false]);
});

test("what was set stays as it was set, and no device is asked for it", () => {
  const exact = { ...CONFIG, matmul_precision: "float32", kv_cache_dtype: "float32" } as const;
  const asked = { ...exact, importance_sampling_correction: true };
  assert.deepEqual(settledPrecision(asked, none), asked);
  assert.equal(settledPrecision(exact, none).importance_sampling_correction, false);
  const rounded = { ...exact, kv_cache_dtype: "bfloat16" } as const;
  assert.equal(samplerMayDiffer(rounded, none), true);
  assert.equal(correctsSampler({ ...rounded, importance_sampling_correction: false }, none), false);
  const matrices = { ...exact, matmul_precision: "float16" } as const;
  assert.equal(correctsSampler(matrices, none), true);
});

test("a run that went on in another precision is refused, and names it", () => {
  const identity = (device: PrecisionFacts) => resumeIdentity(settledPrecision(CONFIG, () => device));
  assert.deepEqual(resumeConflicts(identity(CARD), identity(CARD)), []);
  assert.deepEqual(resumeConflicts(identity(CARD), identity(CPU)), [
    'matmul_precision: checkpoint "float16", now "float32"',
    'kv_cache_dtype: checkpoint "float16", now "float32"',
    "importance_sampling_correction: checkpoint true, now false",
  ]);
});

test("precisionText() names both settings", () => {
  assert.equal(precisionText(CONFIG), "matmul_precision auto, kv_cache_dtype auto");
});

test("bounds of the sampler's ratios are refused where none could lie between them, or there is none to cut at", () => {
  const load = (...overrides: string[]) =>
    loadConfig({ text: "seed: 1", fileName: "run.yaml" }, { overrides });
  assert.throws(
    () => load("importance_sampling_clip_min=3"),
    /importance_sampling_clip_min must be below importance_sampling_clip_max = 3, got 3/,
  );
  const unbounded = ["importance_sampling_mode=token_truncate", "importance_sampling_clip_max=null"];
  assert.throws(() => load(...unbounded), /"token_truncate" needs a bound to truncate at/);
  load(...unbounded, "importance_sampling_clip_min=0.5");
  load(...unbounded, "importance_sampling_correction=false");
  load("importance_sampling_clip_max=null");
});
