/** How much a test here tries, and how it tells what came of it. */
import process from "node:process";

/** Set by `npm run chaos -- --full`. */
export const isFull = process.env.CHAOS_FULL === "1";

/** How often something is tried: the few that show it, or what docs/reliability.md states. */
export const countOf = (few: number, full: number): number => isFull ? full : few;

/** Prints a row of docs/reliability.md, in a line of its own. */
export function tellRow(claim: string, measured: string): void {
  const cell = (text: string) => text.replaceAll(/[|\s]+/g, " ").trim();
  process.stdout.write(`\nrow | ${cell(claim)} | ${cell(measured)}\n`);
}
