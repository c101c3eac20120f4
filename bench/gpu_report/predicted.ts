/** What the cost model says of a plan on the device that is open. */
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { isSoftwareDevice } from "../../src/gpu/device_facts.ts";
import type { Plan } from "../../src/gpu/plan.ts";
import { type Device, DEVICES } from "../predict/devices.ts";
import { costOf } from "../predict/model.ts";
import type { Seen } from "../predict/work.ts";
import { workOf } from "../predict/works.ts";

/** Names of cards as drivers tell them. */
const CARDS: readonly (readonly [RegExp, string])[] = [
  [/h100/i, "h100"],
  [/h200|gh200/i, "h200"],
  [/a100/i, "a100"],
  [/4090/, "rtx4090"],
  [/m4 max/i, "m4-max"],
];

/** The device of the cost model that is open; undefined where the model knows no such device. */
function modelledDevice(): Device | undefined {
  if (isSoftwareDevice()) return DEVICES.lavapipe;
  const { device, description } = tfjsBackend().device.adapterInfo;
  const known = CARDS.find(([pattern]) => pattern.test(`${device} ${description}`));
  return known && DEVICES[known[1]];
}

/** Nobody sees anything: for kernels that are no attention. */
const NOTHING_SEEN: Seen = { sequence: 1, prefix: 0, readers: 1, held: 1, prompt: 0, group: 1 };

/**
 * Seconds of one replay; undefined where the model knows no such device.
 * @param seen whom the tokens see, where the plan is attention's
 */
export function predictPlan({ dispatches }: Plan, seen: Seen = NOTHING_SEEN): number | undefined {
  const device = modelledDevice();
  if (!device) return undefined;
  return dispatches.reduce((sum, dispatch) => sum + costOf(workOf(dispatch, seen), device).seconds, 0);
}
