import { LOSS_TYPES } from "../rl/loss_types.ts";
import { SCHEDULES } from "../rl/schedules.ts";
import { type Config, CONFIG_KEYS, fieldMeta } from "./schema.ts";
import type { RunConfig } from "./sweep.ts";

/** What a checkpoint keeps of its configuration, to be compared when it is resumed. */
export type ResumeIdentity = Record<string, unknown>;

/** Keys that say how a batch is split over ranks and passes; what they come to together counts. */
const SPLIT_KEYS = [
  "per_device_train_batch_size",
  "gradient_accumulation_steps",
  "steps_per_generation",
] as const;
type SplitKey = (typeof SPLIT_KEYS)[number];
const isSplitKey = (key: string): key is SplitKey => SPLIT_KEYS.includes(key as SplitKey);

/** Completions of all ranks, by what they do together. */
function batchIdentity(config: Config | RunConfig, worldSize: number): ResumeIdentity {
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
 * What must be the same for a resumed run to equal one that was never stopped: keys of the settings, and in the place
 * of those that split a batch over ranks and passes how many completions go together. Output paths, logging, evaluation
 * and the scorer's address are free; the run's length is free unless the learning-rate schedule depends on it.
 */
export function resumeIdentity(config: Config | RunConfig, worldSize = 1): ResumeIdentity {
  const warmupIsAShare = config.warmup_steps > 0 && config.warmup_steps < 1;
  const lengthMatters = SCHEDULES[config.lr_scheduler_type].dependsOnLength || warmupIsAShare;
  const keys = CONFIG_KEYS.filter((key) =>
    !isSplitKey(key) && !fieldMeta(key).freeOnResume ||
    (lengthMatters && (key === "max_steps" || key === "num_train_epochs"))
  );
  return {
    ...Object.fromEntries(keys.map((key) => [key, config[key]])),
    ...batchIdentity(config, worldSize),
  };
}

/** The keys on which a checkpoint and a run differ, as "key: checkpoint X, now Y"; empty when they agree. */
export function resumeConflicts(saved: ResumeIdentity, current: ResumeIdentity): string[] {
  const keys = [...new Set([...Object.keys(current), ...Object.keys(saved)])];
  return keys
    .map((key) => [key, JSON.stringify(saved[key]), JSON.stringify(current[key])] as const)
    .filter(([, before, now]) => before !== now)
    .map(([key, before, now]) => `${key}: checkpoint ${before ?? "without it"}, now ${now ?? "without it"}`);
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
