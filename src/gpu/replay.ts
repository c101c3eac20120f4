/**
 * Functions of tensors, recorded once for each shape of what they take and replayed from then on: a replay costs a few
 * microseconds per kernel, where calling the ops (the tape, tfjs's bookkeeping, bind groups) costs a hundred.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { type Arena, createArena } from "./arena.ts";
import { copyTensor } from "./tensors.ts";
import { type RecordedPlan, recordPlan } from "./plan.ts";
import { tensorsOf } from "./tensor_tree.ts";

export interface Replays {
  /**
   * outputs = build(inputs), replayed where it was recorded before for inputs of these shapes.
   * @param name of the function, and of all else that `build` reads: it is called only when a plan is recorded
   * @param build uses our ops alone, and may run a tape; it gets tensors in the places of `inputs`, which it may not
   *   keep
   * @returns what `build` made; good until any function is run again: all of them share their memory
   */
  run<Inputs, Outputs>(name: string, inputs: Inputs, build: (inputs: Inputs) => Outputs): Outputs;
  /** Most bytes that plans of other sizes can take beside what is taken now, the largest so far staying the largest. */
  limitBytes(): number;
  dispose(): void;
}

/** What JavaScript keeps of recorded plans: a dispatch is about 1 KB of the host's memory. */
const KEPT_DISPATCHES = 2 ** 17;
/** Plans of one model at other sizes have other proportions: some more tokens, some more completions. */
const SLACK = 1 / 8;

/** @param keptDispatches of plans, beyond which those used longest ago are recorded again when they are wanted */
export function createReplays(keptDispatches: number = KEPT_DISPATCHES): Replays {
  const arena: Arena = createArena(SLACK);
  /** In the order of their last use. */
  const recorded = new Map<string, RecordedPlan<unknown, unknown>>();
  const drop = (key: string) => {
    recorded.get(key)!.dispose();
    recorded.delete(key);
  };
  const makeRoom = () => {
    let kept = 0;
    for (const { dispatches } of recorded.values()) kept += dispatches.length;
    for (const [key, { dispatches }] of recorded) {
      if (kept <= keptDispatches) return;
      kept -= dispatches.length;
      drop(key);
    }
  };
  const keyOf = (name: string, inputs: readonly Tensor[]) =>
    `${name} ${inputs.map(({ shape }) => `[${shape}]`).join("")}`;
  return {
    run(name, inputs, build) {
      const given = tensorsOf(inputs);
      const key = keyOf(name, given);
      let plan = recorded.get(key);
      if (!plan) {
        makeRoom();
        plan = recordPlan(build as (inputs: unknown) => unknown, { inputs: inputs as unknown, arena });
      }
      recorded.delete(key);
      recorded.set(key, plan);
      plan.prepare();
      tensorsOf(plan.inputs).forEach((own, i) => copyTensor(given[i], own));
      plan.replay();
      return plan.outputs as ReturnType<typeof build>;
    },
    limitBytes: () => arena.limitBytes() - arena.sizeBytes(),
    dispose: () => [...recorded.keys()].forEach(drop),
  };
}
