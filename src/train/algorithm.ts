/** What an algorithm does for a run: how it goes on from what was saved, and how a step is made. */
import type { Judgements, MetricRow } from "../tracking/metrics.ts";
import type { Texts } from "../tracking/samples.ts";
import type { RestoredRun } from "./checkpointing.ts";
import type { Progress } from "./generation_batch.ts";
import type { Asked } from "./given_up.ts";
import type { Run } from "./run.ts";

/** What has been trained on, and not logged yet. */
export interface Trained {
  progress: Progress;
  /** Completions that are shown of it, and what was made of them. */
  texts: Texts;
  judgements: Judgements;
  /** Logs it, once. */
  log(): Promise<MetricRow>;
  /**
   * Says of steps that could not be made.
   * @throws DivergedError when there were too many
   */
  judge(): Promise<void>;
}

/** Makes the steps of a run. */
export interface Stepper {
  /** What a new run begins with, before its first evaluation. */
  begin?(start: Progress): Promise<Progress>;
  /** Samples, scores and trains on what comes after `progress`. */
  advance(progress: Progress): Promise<Trained>;
  dispose(): void;
}

export interface Algorithm {
  /** Takes the newest state of the run into the learner; null where there is none. */
  restore(onSkipped: (dir: string, reason: string) => void): Promise<RestoredRun | null>;
  /** @param asked tells of work that was given up, until it is aborted */
  open(run: Run, start: Progress, asked: Asked): Promise<Stepper>;
}

/** What a step in progress is called where it is given up. */
export const STEP_IN_PROGRESS = "the step in progress";
