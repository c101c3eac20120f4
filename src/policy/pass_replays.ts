/** Recorded passes of a model: over what several sequences begin with, and over the sequences. */
import { createReplays, type Replays } from "../gpu/replay.ts";

/** Apart, so that none is freed for another while that goes on from what it made. */
export interface PassReplays {
  prompts: Replays;
  passes: Replays;
  promptsBackward: Replays;
}

/** Passes that take more are not kept. */
const KEPT_BYTES = 2 ** 26;

export function makePassReplays(): PassReplays {
  const replays = () => createReplays(KEPT_BYTES);
  return { prompts: replays(), passes: replays(), promptsBackward: replays() };
}

/** Frees what is over the limits: what comes next may need the memory. */
export function trimPasses(replays: PassReplays): void {
  for (const each of Object.values(replays) as Replays[]) each.trim();
}

/** Most bytes of passes of other sizes than the one in use, the largest so far staying the largest. */
export function passLimitBytes(replays: PassReplays): number {
  return (Object.values(replays) as Replays[]).reduce((sum, each) => sum + each.limitBytes(), 0);
}

export function disposePasses(replays: PassReplays): void {
  for (const each of Object.values(replays) as Replays[]) each.dispose();
}
