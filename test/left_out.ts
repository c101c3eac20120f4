/** Tests that a machine cannot run: `npm test` counts and names them at its end. */
import { appendFileSync } from "node:fs";

/**
 * Notes that a test is left out here, for the list that scripts/check.mjs prints.
 * @param reason false where the test can be run
 * @returns the reason, which is what `skip` takes
 */
export function leftOut<Reason extends string | false>(test: string, reason: Reason): Reason {
  const file = process.env.GRPO_LEFT_OUT_TESTS;
  if (file && reason !== false) appendFileSync(file, `${test}: ${reason}\n`);
  return reason;
}
