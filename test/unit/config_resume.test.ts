import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import {
  assertResumable,
  changesBetween,
  changeText,
  movesSchedule,
  resumeConflicts,
  resumeIdentity,
  resumeSettings,
} from "../../src/config/resume.ts";
import { CONFIG_KEYS, defaultConfig } from "../../src/config/schema.ts";
import { learningRate, LR_SCHEDULER_TYPES, type LrSchedulerType } from "../../src/rl/schedules.ts";

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
  assert.deepEqual(resumeConflicts(identity(), identity("adam_beta1=0.5", "lambda_lr=0.1", "seed=43")), [
    "seed: checkpoint 42, now 43",
    "lambda_lr: checkpoint 0.005, now 0.1",
    "adam_beta1: checkpoint 0.9, now 0.5",
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

test("rate, schedule, clipping, decay, length and the split of a batch may change, and each change is named", () => {
  const settings = (...overrides: string[]) =>
    resumeSettings(loadConfig({ text: "seed: 42", fileName: "run.yaml" }, { overrides }));
  const changed = [
    "learning_rate=1e-6",
    "lr_scheduler_type=cosine",
    "lr_scheduler_kwargs={num_cycles: 2}",
    "warmup_steps=3",
    "max_grad_norm=0.5",
    "weight_decay=0.1",
    "max_steps=900",
    "per_device_train_batch_size=2",
    "gradient_accumulation_steps=30",
  ];
  assert.deepEqual(resumeConflicts(identity(), identity(...changed)), []);
  const told = changesBetween(settings(), settings(...changed)).map((change) => changeText(change, 41));
  assert.deepEqual(told, [
    "learning_rate: 0.000005 -> 0.000001, from step 41 on",
    'lr_scheduler_type: "constant" -> "cosine", from step 41 on',
    'lr_scheduler_kwargs: null -> {"num_cycles":2}, from step 41 on',
    "warmup_steps: 0 -> 3, from step 41 on",
    "max_steps: 500 -> 900, from step 41 on",
    "per_device_train_batch_size: 1 -> 2, from step 41 on",
    "gradient_accumulation_steps: 60 -> 30, from step 41 on",
    "weight_decay: 0 -> 0.1, from step 41 on",
    "max_grad_norm: 1 -> 0.5, from step 41 on",
  ]);
  assert.deepEqual(changesBetween(settings(), settings("eval_every=7")), []);
});

test("an identity that went through JSON still agrees, and a key the checkpoint lacks is named", () => {
  const saved = JSON.parse(JSON.stringify(resumeIdentity(defaultConfig())));
  assert.doesNotThrow(() => assertResumable(saved, identity(), "checkpoint-1"));
  delete saved.top_k;
  assert.deepEqual(resumeConflicts(saved, identity()), ["top_k: checkpoint without it, now 0"]);
});

/** Another value of the same kind. */
function another(value: unknown): unknown {
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  if (typeof value === "string") return `${value}-other`;
  return Array.isArray(value) ? [...value, "other"] : "other";
}

// Where a run writes, what it logs, evaluates and asks, how long it is, how it fits its machine.
const FREE = [
  ["train_jsonl", "allow_new_prompts"], // prompts are told apart by content
  ["metric_for_best_model", "greater_is_better", "load_best_model_at_end"],
  ["early_stopping_patience", "early_stopping_threshold"],
  ["eval_jsonl", "scorer_url", "cost_scorer_url", "scorer_batch_size", "scorer_batch_size_eval"],
  ["scorer_timeout", "scorer_retry_max_s", "scorer_max_abs_score", "scorer_route", "scorer_token_file"],
  ["readback_every", "lora_merge", "lora_merge_dtype"],
  ["lora_merge_bin", "gradient_checkpointing", "gpu_memory_gib", "max_nonfinite_steps"],
  ["zero_stage", "reduce_bucket_size", "allgather_bucket_size", "overlap_comm"],
  ["deepspeed_config", "eval_every", "eval_on_start", "eval_batch_size"],
  ["per_device_eval_batch_size", "eval_table_n_samples", "output_dir", "report_to"],
  ["run_name", "project", "entity"],
  ["es_full_checkpoint_every", "es_members_at_once"],
  [
    "resume",
    "check_ranks_every",
    "save_steps",
    "save_total_limit",
    "logging_steps",
    "scatter_every",
    "scatter_max_points",
  ],
  ["hist_every", "debug_log_every", "debug_log_n_samples", "debug_print_first"],
  ["debug_print_samples_per_batch", "debug_print_sample_chars", "log_completions", "tensorboard_names"],
].flat();

/** What may change and is named. */
const NAMED = [
  [
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
  ],
  ["weight_decay", "max_grad_norm", "es_alpha"],
].flat();

/** Other values of keys whose values are looked up. */
const OTHER: Readonly<Record<string, string>> = {
  lr_scheduler_type: "constant_with_warmup",
  loss_type: "dapo",
};

const completions = (name: string, before: number, now: number) =>
  `completions_per_${name}: checkpoint ${before}, now ${now}`;

/** Keys that count for what they come to, of 60 passes of 1 completion: another value, and what is said of it. */
const SPLIT: Readonly<Record<string, [now: number, words: string]>> = {
  per_device_train_batch_size: [2, `${completions("step", 60, 120)}; ${completions("generation", 60, 120)}`],
  gradient_accumulation_steps: [30, `${completions("step", 60, 30)}; ${completions("generation", 60, 30)}`],
  steps_per_generation: [120, completions("generation", 60, 120)],
};

test("a batch may be split over other ranks and passes, where its completions go together as before", () => {
  const before = { ...defaultConfig(), per_device_train_batch_size: 2, gradient_accumulation_steps: 6 };
  const split = (perPass: number, passes: number, ranks: number, change: Partial<typeof before> = {}) =>
    resumeConflicts(
      resumeIdentity({ ...before, ...change }),
      resumeIdentity({
        ...before,
        per_device_train_batch_size: perPass,
        gradient_accumulation_steps: passes,
        ...change,
      }, ranks),
    );
  assert.deepEqual([split(1, 3, 4), split(4, 1, 3), split(12, 1, 1)], [[], [], []]);
  assert.deepEqual(split(2, 6, 2), [completions("step", 12, 24), completions("generation", 12, 24)]);
  // Its loss is averaged over the completions of a pass.
  assert.deepEqual(split(1, 6, 2, { loss_type: "bnpo" }), []);
  assert.deepEqual(split(1, 12, 1, { loss_type: "bnpo" }), [completions("pass", 2, 1)]);
});

test("a run refuses to resume where any key differs that is not free, and names it with both values", () => {
  const config = defaultConfig();
  const saved = JSON.parse(JSON.stringify(resumeIdentity(config)));
  const refused: string[] = [];
  for (const key of CONFIG_KEYS) {
    const split = SPLIT[key];
    const other = OTHER[key] ?? another(config[key]);
    const now = split?.[0] ?? other;
    const current = resumeIdentity({ ...config, [key]: now } as typeof config);
    const words = split?.[1] ??
      `${key}: checkpoint ${JSON.stringify(config[key])}, now ${JSON.stringify(now)}`;
    const isNamed = NAMED.includes(key);
    const changes = changesBetween(
      resumeSettings(config),
      resumeSettings({ ...config, [key]: now } as typeof config),
    );
    assert.deepEqual(changes.map((change) => change.key), isNamed || split ? [key] : [], key);
    if (FREE.includes(key) || isNamed) assert.deepEqual(resumeConflicts(saved, current), [], key);
    else {
      assert.throws(
        () => assertResumable(saved, current, "checkpoint-1"),
        (error: Error) => error instanceof RangeError && error.message.includes(`(${words})`),
        key,
      );
      refused.push(key);
    }
  }
  assert.equal(refused.length + FREE.length + NAMED.length, CONFIG_KEYS.length);
});

/** Arguments that a schedule cannot do without. */
const NEEDED: Partial<Record<LrSchedulerType, Record<string, number>>> = {
  cosine_with_min_lr: { min_lr: 0 },
  cosine_warmup_with_min_lr: { min_lr: 0 },
  warmup_stable_decay: { num_decay_steps: 10 },
};

test("another length of the run is told of the schedule exactly where it moves the learning rate", () => {
  for (const type of LR_SCHEDULER_TYPES) {
    for (const warmup_steps of type === "constant" ? [0, 5] : [0, 1, 5, 0.1]) {
      const schedule = { lr_scheduler_type: type, lr_scheduler_kwargs: NEEDED[type] ?? null, warmup_steps };
      const config = { ...defaultConfig(), ...schedule };
      const rates = (total_steps: number) =>
        Array.from(
          { length: 100 },
          (_, step) => learningRate(step, { ...schedule, learning_rate: 1, total_steps }),
        );
      const moves = JSON.stringify(rates(100)) !== JSON.stringify(rates(200));
      for (const [key, now] of [["max_steps", 900], ["num_train_epochs", 3]] as const) {
        assert.equal(
          movesSchedule({ key, before: config[key], now }, config),
          moves,
          `${type}, warmup_steps ${warmup_steps}`,
        );
      }
    }
  }
});

test("a free key may differ, whatever the schedule", () => {
  const changed = ["lr_scheduler_type=cosine", "eval_every=7", "output_dir=elsewhere"];
  assert.deepEqual(resumeConflicts(identity(changed[0]!), identity(...changed)), []);
});

test("a key that the checkpoint has and the run does not know is named", () => {
  const saved = { ...resumeIdentity(defaultConfig()), of_old: 3 };
  assert.deepEqual(resumeConflicts(saved, identity()), ["of_old: checkpoint 3, now without it"]);
});
