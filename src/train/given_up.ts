/** What a run that is asked to end does not wait for. */
import type { Scorer } from "../scorer/protocol.ts";

/** Whether the process was asked to end. */
export interface Asked {
  /** Aborted once nobody waits any more, as where the run has failed meanwhile. */
  ended?: AbortSignal;
  /** Once: the run saves and stops after the step in progress. */
  shouldStop(): boolean;
  /** Again: the step in progress is given up, unless its update has begun; the one before is saved. */
  isHurried?(): boolean;
}

/** How long scores are waited for by a run that is asked to end: less than clusters wait for it. */
const SCORES_GRACE_MS = 10_000;
const LOOK_MS = 100;

/** Work that was not waited for, as the run is to end; nothing has changed by it. */
export class GivenUp extends Error {
  override readonly name = "GivenUp";
}

/** @throws GivenUp when the run was asked to end at once */
export function assertUnhurried({ isHurried }: Asked, what: string): void {
  if (isHurried?.()) throw new GivenUp(`Gave up ${what}: asked to end at once`);
}

/**
 * Waits for work that others do, and that may never end.
 * @param graceMs how long at the most once the run is asked to end
 * @throws GivenUp when it took longer, or the run was asked to end at once
 */
async function whileWanted<R>(
  work: Promise<R>,
  asked: Asked,
  { what, graceMs }: { what: string; graceMs: number },
): Promise<R> {
  let timer: ReturnType<typeof setInterval> | undefined;
  const endLooks = () => clearInterval(timer);
  const givenUp = new Promise<never>((_, reject) => {
    let askedAt: number | null = null;
    timer = setInterval(() => {
      try {
        assertUnhurried(asked, what);
      } catch (error) {
        return reject(error);
      }
      if (!asked.shouldStop()) return;
      askedAt ??= performance.now();
      const waitedMs = performance.now() - askedAt;
      if (waitedMs < graceMs) return;
      reject(
        new GivenUp(
          `Gave up ${what}: no scores within ${Math.round(waitedMs / 1000)} s of being asked to end`,
        ),
      );
    }, LOOK_MS);
  });
  asked.ended?.addEventListener("abort", endLooks, { once: true });
  try {
    return await Promise.race([work, givenUp]);
  } finally {
    endLooks();
    asked.ended?.removeEventListener("abort", endLooks);
  }
}

/**
 * A scorer that a run which is asked to end does not wait for, unless it is this process itself.
 * @param what is given up for want of its scores
 */
export function scorerWhileWanted(scorer: Scorer, asked: Asked, what: string): Scorer {
  const graceMs = scorer.sharesGpu ? Infinity : SCORES_GRACE_MS;
  return {
    ...scorer,
    score: (answers, options) => whileWanted(scorer.score(answers, options), asked, { what, graceMs }),
  };
}
