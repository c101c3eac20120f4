/** What must be the same on all ranks of a run: its program, its settings. */
import { createHash } from "node:crypto";
import type { Communicator } from "./communicator.ts";
import { gatherTexts } from "./gather.ts";

/** The first line in which two texts differ, as each has it. */
function firstDifference(one: string, other: string): [string, string] {
  const [ours, theirs] = [one.split("\n"), other.split("\n")];
  const at = ours.findIndex((line, i) => line !== theirs[i]);
  const line = at < 0 ? ours.length : at;
  return [ours[line] ?? "(nothing)", theirs[line] ?? "(nothing)"];
}

const listed = (ranks: readonly number[]) => `rank${ranks.length === 1 ? "" : "s"} ${ranks.join(", ")}`;

/**
 * Returns where all ranks have the same text.
 * @param name what the text says, for the message
 * @throws Error when some rank's text differs from rank 0's, on every rank
 */
export async function assertSameOnRanks(
  communicator: Communicator,
  name: string,
  text: string,
): Promise<void> {
  if (communicator.size === 1) return;
  const hashes = await gatherTexts(communicator, [createHash("sha256").update(text).digest("hex")]);
  const others = hashes.flatMap((hash, rank) => hash === hashes[0] ? [] : [rank]);
  if (others.length === 0) return;
  const texts = await gatherTexts(communicator, [text]);
  const [first, other] = firstDifference(texts[0], texts[others[0]]);
  throw new Error(
    `The ranks differ in ${name}: rank 0 has "${first}", rank ${others[0]} "${other}" (${
      listed(others)
    } of ` +
      `${communicator.size} differ from rank 0); start all ranks with the same`,
  );
}
