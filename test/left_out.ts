/** Tests that a machine cannot run: `npm test` counts and names them at its end. */
import { appendFileSync } from "node:fs";

/**
 * Notes that a test is left out here, for the list that scripts/check.mjs prints.
 * @returns the reason, which is what `skip` takes
 */
export function leftOut(test: string, reason: string): string {
  const file = process.env.GRPO_LEFT_OUT_TESTS;
  if (file) appendFileSync(file, `${test}: ${reason}\n`);
  return reason;
}
