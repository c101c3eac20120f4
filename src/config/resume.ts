import { SCHEDULES } from "../rl/schedules.ts";
import { type Config, CONFIG_KEYS, fieldMeta } from "./schema.ts";
import type { RunConfig } from "./sweep.ts";

/** What a checkpoint keeps of its configuration, to be compared when it is resumed. */
export type ResumeIdentity = Record<string, unknown>;

/**
 * The keys, in order, that must be the same for a resumed run to equal one that was never stopped. Output
 * paths, logging, evaluation and the scorer's address are free; the run's length is free unless the
 * learning-rate schedule depends on it. Passes are counted over all ranks: a run may go on with another number of them.
 */
export function resumeIdentity(config: Config | RunConfig, worldSize = 1): ResumeIdentity {
  const warmupIsAShare = config.warmup_steps > 0 && config.warmup_steps < 1;
  const lengthMatters = SCHEDULES[config.lr_scheduler_type].dependsOnLength || warmupIsAShare;
  const keys = CONFIG_KEYS.filter((key) =>
    !fieldMeta(key).freeOnResume || (lengthMatters && (key === "max_steps" || key === "num_train_epochs"))
  );
  const identity = Object.fromEntries(keys.map((key) => [key, config[key]]));
  if (worldSize === 1) return identity;
  const { gradient_accumulation_steps: perStep, steps_per_generation: perGeneration } = config;
  return {
    ...identity,
    gradient_accumulation_steps: worldSize * perStep,
    steps_per_generation: perGeneration && worldSize * perGeneration,
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
