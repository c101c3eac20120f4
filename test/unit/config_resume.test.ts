import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import { assertResumable, resumeConflicts, resumeIdentity } from "../../src/config/resume.ts";
import { defaultConfig } from "../../src/config/schema.ts";

function identity(...overrides: string[]) {
  return resumeIdentity(loadConfig({ text: "seed: 42", fileName: "run.yaml" }, { overrides }));
}

test("output, logging, evaluation, the scorer's address and the run's length may change on resume", () => {
  const changed = identity(
    "output_dir=elsewhere",
    "logging_steps=1",
    "eval_every=7",
    "scorer_url=http://other:1",
    "max_steps=900",
    "save_steps=3",
  );
  assert.deepEqual(resumeConflicts(identity(), changed), []);
});

test("keys that change what is learned must stay, and the error names each that did not", () => {
  assert.deepEqual(resumeConflicts(identity(), identity("learning_rate=1e-5", "lambda_lr=0.1", "seed=43")), [
    "seed: checkpoint 42, now 43",
    "lambda_lr: checkpoint 0.005, now 0.1",
    "learning_rate: checkpoint 0.000005, now 0.00001",
  ]);
  assert.throws(
    () => assertResumable(identity(), identity("beta=0.05"), "outputs/checkpoint-250"),
    /Cannot resume from "outputs\/checkpoint-250": .*beta: checkpoint 0.01, now 0.05.*resume: false/,
  );
});

test("what an adapter is must stay; whether it is merged at the end may change", () => {
  const peft = "use_peft=true";
  assert.deepEqual(resumeConflicts(identity(peft), identity(peft, "lora_merge=true")), []);
  const changed = ["lora_r=8", "lora_alpha=8", "lora_target_modules=all-linear", "use_rslora=true"];
  assert.equal(resumeConflicts(identity(), identity(peft, ...changed)).length, 5);
});

test("the run's length must stay where the learning-rate schedule depends on it", () => {
  const cosine = "lr_scheduler_type=cosine";
  assert.deepEqual(resumeConflicts(identity(cosine), identity(cosine, "max_steps=900")), [
    "max_steps: checkpoint 500, now 900",
  ]);
});

test("an identity that went through JSON still agrees, and a key the checkpoint lacks is named", () => {
  const saved = JSON.parse(JSON.stringify(resumeIdentity(defaultConfig())));
  assert.doesNotThrow(() => assertResumable(saved, identity(), "checkpoint-1"));
  delete saved.top_k;
  assert.deepEqual(resumeConflicts(saved, identity()), ["top_k: checkpoint without it, now 0"]);
});
