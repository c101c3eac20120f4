/** Elo ratings of two players out of their games. */
import type { Interval } from "./binomial.ts";
import { bootstrap, type BootstrapOptions } from "./bootstrap.ts";

const K = 32;
const SCALE = 400;
export const BASE_RATING = 1000;

/** How a game ended for the first player. */
export type Outcome = 0 | 0.5 | 1;

/**
 * The first player's rating where the second one's, the base, is put at 1000: after each game in turn both move by
 * K (outcome - E), E = 1 / (1 + 10^(-(own - base) / 400)), from equal ratings.
 */
export function eloAgainstBase(outcomes: Iterable<Outcome>): number {
  // Both move by the same amount, in opposite directions.
  let difference = 0;
  for (const outcome of outcomes) {
    difference += 2 * K * (outcome - 1 / (1 + 10 ** (-difference / SCALE)));
  }
  return BASE_RATING + difference;
}

export interface EloRating {
  elo: number;
  elo_interval: Interval;
  /** Mean outcome; a tie is half a win. */
  win_rate: number;
  win_rate_interval: Interval;
  wins: number;
  ties: number;
  losses: number;
}

/**
 * Rating and share of wins, with intervals over games that are drawn again.
 * @throws RangeError when there is no game
 */
export function rateGames(outcomes: readonly Outcome[], options: BootstrapOptions): EloRating {
  const mean = (list: ArrayLike<number>) => Array.from(list).reduce((sum, one) => sum + one, 0) / list.length;
  const [elo_interval, win_rate_interval] = bootstrap(outcomes.length, (places) => {
    const drawn = Array.from(places, (place) => outcomes[place]!);
    return [eloAgainstBase(drawn), mean(drawn)];
  }, options);
  const countOf = (wanted: Outcome) => outcomes.filter((outcome) => outcome === wanted).length;
  return {
    elo: eloAgainstBase(outcomes),
    elo_interval: elo_interval!,
    win_rate: mean(outcomes),
    win_rate_interval: win_rate_interval!,
    wins: countOf(1),
    ties: countOf(0.5),
    losses: countOf(0),
  };
}
