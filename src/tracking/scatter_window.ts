/** Reward against cost of the completions since the last scatter plot, at most so many points. */
import type { Judgements } from "./metrics.ts";

/** Plain and serialisable, so that a checkpoint can hold it. */
export interface ScatterWindow {
  /** First step whose completions are in; 0 while empty. */
  fromStep: number;
  /** Scored completions so far. */
  seen: number;
  /** Every `stride`-th of them is kept. */
  stride: number;
  rewards: readonly number[];
  costs: readonly number[];
}

export const EMPTY_SCATTER: ScatterWindow = { fromStep: 0, seen: 0, stride: 1, rewards: [], costs: [] };

/**
 * The window with one more step's completions. Whenever more than `maxPoints` are kept, every second one goes
 * and the stride doubles: the points stay evenly spread over the window, memory stays bounded, and no random
 * draw is needed.
 */
export function addToScatter(
  window: ScatterWindow,
  step: number,
  { rewards, costs }: Pick<Judgements, "rewards" | "costs">,
  maxPoints: number,
): ScatterWindow {
  const isScored = (_: number, index: number) =>
    Number.isFinite(rewards[index]) && Number.isFinite(costs[index]);
  const [scoredRewards, scoredCosts] = [rewards.filter(isScored), costs.filter(isScored)];
  const isDue = (_: number, index: number) => (window.seen + index) % window.stride === 0;
  let grown: ScatterWindow = {
    fromStep: window.seen === 0 ? step : window.fromStep,
    seen: window.seen + scoredRewards.length,
    stride: window.stride,
    rewards: [...window.rewards, ...scoredRewards.filter(isDue)],
    costs: [...window.costs, ...scoredCosts.filter(isDue)],
  };
  while (grown.rewards.length > Math.max(maxPoints, 1)) grown = halved(grown);
  return grown;
}

function halved(window: ScatterWindow): ScatterWindow {
  const isEven = (_: number, index: number) => index % 2 === 0;
  return {
    ...window,
    stride: window.stride * 2,
    rewards: window.rewards.filter(isEven),
    costs: window.costs.filter(isEven),
  };
}
