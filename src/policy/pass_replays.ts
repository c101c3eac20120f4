/** Recorded passes of a model: over what several sequences begin with, and over the sequences. */
import { createReplays, type ReplayLimits, type Replays } from "../gpu/replay.ts";

/** Apart, so that none is written over by another while that goes on from what it made. */
export interface PassReplays {
  prompts: Replays;
  passes: Replays;
  promptsBackward: Replays;
}

export function makePassReplays(limits?: ReplayLimits): PassReplays {
  const replays = () => createReplays(limits);
  return { prompts: replays(), passes: replays(), promptsBackward: replays() };
}

/** Gives back memory over the limits: what comes next may need it. */
export function trimPasses(replays: PassReplays): void {
  for (const each of Object.values(replays) as Replays[]) each.trim();
}

/** Bytes to plan for passes of other sizes, beside the largest. */
export function passLimitBytes(replays: PassReplays): number {
  return (Object.values(replays) as Replays[]).reduce((sum, each) => sum + each.limitBytes(), 0);
}

export function disposePasses(replays: PassReplays): void {
  for (const each of Object.values(replays) as Replays[]) each.dispose();
}
