/** What a launch costs: on the GPU when one waits for the last and when none does, and in JavaScript. */
import * as tf from "@tensorflow/tfjs";
import { openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { settle } from "../../src/gpu/queue.ts";
import { timePlan } from "../../src/gpu/timing.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { quantile } from "../measure.ts";
import type { PartContext, Say } from "./report_line.ts";
import { randomTensor } from "./timed_case.ts";

/** Of one token of a 7B model: without adapters, and what one took with adapters on all its layers at first. */
const COUNTS = [288, 1125];
const ROUNDS = 15;

async function timeLaunches(count: number, dependent: boolean, say: Say): Promise<void> {
  const [x, y] = [randomTensor([1, 256]), randomTensor([1, 256])];
  const plan = recordPlan(() => {
    let last = x;
    const made = [];
    for (let i = 0; i < count; i++) made.push(last = add(dependent ? last : x, y));
    return made; // all of them are kept, so that no buffer is used twice
  });
  const manner = dependent ? "each reads the last" : "none reads another";
  plan.replay();
  await settle();
  const { seconds } = await timePlan(plan, 10);
  say({ kind: "measured", name: `launch, ${count} in a plan, ${manner}`, seconds: seconds / 10 / count });
  const js: number[] = [];
  const whole: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await settle();
    const begin = performance.now();
    plan.replay();
    js.push(performance.now() - begin);
    await settle();
    whole.push(performance.now() - begin);
  }
  say({
    kind: "measured",
    name: `JavaScript of ${count} launches, ${manner}`,
    seconds: quantile(js, 0.5) / 1e3,
  });
  say({
    kind: "measured",
    name: `${count} launches and the wait for them, ${manner}`,
    seconds: quantile(whole, 0.5) / 1e3,
  });
  plan.dispose();
  tf.dispose([x, y]);
}

/** Says the cost of launches in plans of a token's size. */
export async function reportDispatches({ isSmall, say }: PartContext): Promise<void> {
  await openGpu();
  for (const count of isSmall ? [32] : COUNTS) {
    for (const dependent of [true, false]) await timeLaunches(count, dependent, say);
  }
}
