/** The population that the settings ask for. */
import { fullRank } from "./full_rank.ts";
import { lowRank } from "./low_rank.ts";
import type { Population, PopulationDeps } from "./population.ts";

/**
 * Noise of full rank, one member after the other, or of rank `es_rank`, many in a batch. To be opened on the weights
 * that the run begins with, also where it then goes on from others: they say what noise of full rank is rounded to.
 * @param ranks that share the members out
 * @throws RangeError when weights are packed, or no numbers
 */
export async function openPopulation(deps: PopulationDeps, ranks = 1): Promise<Population> {
  const { es_rank: rank } = deps.config;
  return rank === null ? await fullRank(deps) : lowRank(deps, rank, ranks);
}
