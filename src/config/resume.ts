import { LOSS_TYPES } from "../rl/loss_types.ts";
import { SCHEDULES } from "../rl/schedules.ts";
import type { OnResume } from "./fields.ts";
import { type Config, CONFIG_KEYS, fieldMeta } from "./schema.ts";
import type { RunConfig } from "./sweep.ts";

/** What a checkpoint keeps of its configuration, to be compared when it is resumed. */
export type ResumeIdentity = Readonly<Record<string, unknown>>;

/** A setting that is another than that of the checkpoint. */
export interface Change {
  key: string;
  before: unknown;
  now: unknown;
}

const keysOf = (config: Config | RunConfig, onResume: OnResume): ResumeIdentity =>
  Object.fromEntries(
    CONFIG_KEYS.filter((key) => fieldMeta(key).onResume === onResume).map((key) => [key, config[key]]),
  );

/** Completions of all ranks, by what they do together. */
function batchIdentity(config: Config | RunConfig, worldSize: number): ResumeIdentity {
  if (config.algorithm === "es") return {}; // es_population_size and es_batch_size say it themselves
  const perPass = config.per_device_train_batch_size * worldSize;
  const perStep = perPass * config.gradient_accumulation_steps;
  return {
    // The loss averages over the passes of `bnpo` alone.
    ...(LOSS_TYPES[config.loss_type].average === "micro-batches" && { completions_per_pass: perPass }),
    completions_per_step: perStep,
    completions_per_generation: perPass * (config.steps_per_generation ?? config.gradient_accumulation_steps),
  };
}

/**
 * What must be the same for a run to be the same run: keys of the settings, and in the place of those that split a
 * batch over ranks and passes how many completions go together.
 */
export const resumeIdentity = (config: Config | RunConfig, worldSize = 1): ResumeIdentity => ({
  ...keysOf(config, "kept"),
  ...batchIdentity(config, worldSize),
});

/** What may change on resume, and is then named: how far and how fast a run learns, and how its batches are split. */
export const resumeSettings = (config: Config | RunConfig, worldSize = 1): ResumeIdentity => ({
  ...keysOf(config, "named"),
  ranks: worldSize,
});

/** What differs, key by key; a value that only one has is undefined in the other. */
export function changesBetween(saved: ResumeIdentity, current: ResumeIdentity): Change[] {
  const keys = [...new Set([...Object.keys(current), ...Object.keys(saved)])];
  return keys
    .map((key) => ({ key, before: saved[key], now: current[key] }))
    .filter(({ before, now }) => JSON.stringify(before) !== JSON.stringify(now));
}

/** "learning_rate: 0.00001 -> 0.000005, from step 41 on" */
export function changeText({ key, before, now }: Change, firstStep: number): string {
  const [old, other] = [before, now].map((value) => JSON.stringify(value) ?? "none");
  return `${key}: ${old} -> ${other}, from step ${firstStep} on`;
}

const SCHEDULE_KEYS = ["lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"];
const LENGTH_KEYS = ["max_steps", "num_train_epochs"];

/** Whether a change moves the learning rate's share of its peak. */
export function movesSchedule({ key }: Change, config: Config | RunConfig): boolean {
  const warmupIsAShare = config.warmup_steps > 0 && config.warmup_steps < 1;
  const lengthMatters = SCHEDULES[config.lr_scheduler_type].dependsOnLength || warmupIsAShare;
  return SCHEDULE_KEYS.includes(key) || (lengthMatters && LENGTH_KEYS.includes(key));
}

/** The keys on which a checkpoint and a run differ, as "key: checkpoint X, now Y"; empty when they agree. */
export function resumeConflicts(saved: ResumeIdentity, current: ResumeIdentity): string[] {
  const words = (value: unknown) => JSON.stringify(value) ?? "without it";
  return changesBetween(saved, current).map(({ key, before, now }) =>
    `${key}: checkpoint ${words(before)}, now ${words(now)}`
  );
}

/**
 * @throws RangeError when a run cannot go on from a checkpoint; it names the keys that differ
 */
export function assertResumable(saved: ResumeIdentity, current: ResumeIdentity, checkpoint: string): void {
  const conflicts = resumeConflicts(saved, current);
  if (conflicts.length === 0) return;
  throw new RangeError(
    `Cannot resume from "${checkpoint}": its configuration differs (${conflicts.join("; ")}); ` +
      "restore these values, choose another output_dir, or start over with resume: false",
  );
}
