/** What the cost model says of a plan on the device that is open. */
import type { Plan } from "../../src/gpu/plan.ts";

/** Seconds of one replay; undefined where the model knows no such device. */
export function predictPlan(_plan: Plan): number | undefined {
  return undefined;
}
