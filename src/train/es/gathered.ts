/** What ranks tell each other of an iteration, whose shares of members may be of different lengths. */
import type { Communicator, Share } from "../../parallel/communicator.ts";
import { gatherTexts } from "../../parallel/gather.ts";
import type { Judgements } from "../../tracking/metrics.ts";
import { sumOf } from "../generation_batch.ts";
import type { Rollout } from "../rollout.ts";

/**
 * The values of all ranks, each at its place.
 * @param own this rank's, the first of which is value `first` of `count`
 */
export async function meet(
  communicator: Communicator,
  own: readonly number[],
  first: number,
  count: number,
): Promise<number[]> {
  if (communicator.size === 1) return [...own];
  const all = new Float64Array(count);
  all.set(own, first);
  await communicator.allReduceSum(all); // of one value and zeros: exact
  return Array.from(all);
}

/** Named scores of all ranks' members; a name that a rank's scorer does not give is not a number there. */
export async function gatherNamed(
  communicator: Communicator,
  named: Judgements["named"],
  { start, end }: Share,
  count: number,
): Promise<Judgements["named"]> {
  if (communicator.size === 1) return named;
  const names = [...new Set(await gatherTexts(communicator, Object.keys(named ?? {})))].sort();
  const gathered: Record<string, readonly number[]> = {};
  for (const name of names) {
    const values = named?.[name] ?? new Array<number>(end - start).fill(NaN);
    gathered[name] = await meet(communicator, values, start, count);
  }
  return names.length === 0 ? undefined : gathered;
}

/**
 * What is logged of completions of all ranks: lengths and ends of the members', counts of theirs and the policy's.
 * @param spread places of this rank's among the `total` of all members
 */
export async function countMembers(
  communicator: Communicator,
  ofMembers: readonly Rollout[],
  ofPolicy: readonly Rollout[],
  { spread, total }: { spread: Share; total: number },
) {
  const allOf = (count: (rollout: Rollout) => number) =>
    meet(communicator, ofMembers.map(count), spread.start, total);
  const own = [...ofMembers, ...ofPolicy];
  const counted = Float64Array.of(
    sumOf(own.map(({ tokens, prompt }) => tokens.length + prompt.ids.length)),
    own.filter(({ hallucinatedTurn }) => hallucinatedTurn).length,
    own.filter(({ prompt }) => prompt.truncated).length,
  );
  await communicator.allReduceSum(counted);
  const [tokens, hallucinatedTurns, truncatedPrompts] = counted;
  return {
    tokens,
    hallucinatedTurns,
    truncatedPrompts,
    completionLengths: await allOf(({ tokens }) => tokens.length),
    terminated: (await allOf(({ end }) => Number(end !== "length"))).map((ended) => ended === 1),
  };
}
