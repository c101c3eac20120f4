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
  /**
   * The same, in parts.
   * @param onMark called when the kernels before a mark are queued, those behind it once it is done; it may not run
   *   any function of these
   */
  runInParts<Inputs, Outputs>(
    name: string,
    inputs: Inputs,
    build: (inputs: Inputs) => Outputs,
    onMark: (number: number) => Promise<void>,
  ): Promise<Outputs>;
  /** Gives the plans' memory back where it is more than may be kept. */
  trim(): void;
  /** Bytes to plan beside the most that was taken: for plans of other sizes, the largest so far staying the largest. */
  limitBytes(): number;
  dispose(): void;
}

/** What JavaScript keeps of recorded plans: a dispatch is about 1 KB of the host's memory. */
const KEPT_DISPATCHES = 2 ** 17;
/** Plans of one model at other sizes have other proportions: some more tokens, some more completions. */
const SLACK = 1 / 8;

/** What may be kept of GPU memory while no plan is replayed: more is worth getting anew, and binding plans to. */
const KEPT_BYTES = 2 ** 26;

export interface ReplayLimits {
  /** Dispatches of plans beyond which those used longest ago are recorded again when they are wanted. */
  keptDispatches?: number;
  keptBytes?: number;
}

export function createReplays(
  { keptDispatches = KEPT_DISPATCHES, keptBytes = KEPT_BYTES }: ReplayLimits = {},
): Replays {
  const arena: Arena = createArena(SLACK);
  /** In the order of their last use. */
  const recorded = new Map<string, RecordedPlan<unknown, unknown>>();
  const drop = (key: string) => {
    recorded.get(key)!.dispose();
    recorded.delete(key);
  };
  /** Drops plans that were used longest ago, but not the last. */
  const limitPlans = () => {
    let kept = 0;
    for (const { dispatches } of recorded.values()) kept += dispatches.length;
    for (const [key, { dispatches }] of recorded) {
      if (kept <= keptDispatches || recorded.size === 1) return;
      kept -= dispatches.length;
      drop(key);
    }
  };
  const keyOf = (name: string, inputs: readonly Tensor[]) =>
    `${name} ${inputs.map(({ shape }) => `[${shape}]`).join("")}`;
  /** The plan of a function for inputs of these shapes, with these in it. */
  const planOf = <Inputs, Outputs>(name: string, inputs: Inputs, build: (inputs: Inputs) => Outputs) => {
    const given = tensorsOf(inputs);
    const key = keyOf(name, given);
    const known = recorded.get(key);
    const record = () =>
      recordPlan(build as (inputs: unknown) => unknown, { inputs: inputs as unknown, arena });
    const plan = known ?? record();
    recorded.delete(key);
    recorded.set(key, plan);
    if (!known) limitPlans();
    plan.prepare();
    tensorsOf(plan.inputs).forEach((own, i) => copyTensor(given[i], own));
    return plan as RecordedPlan<unknown, Outputs>;
  };
  return {
    run(name, inputs, build) {
      const plan = planOf(name, inputs, build);
      plan.replay();
      return plan.outputs;
    },
    async runInParts(name, inputs, build, onMark) {
      const plan = planOf(name, inputs, build);
      for (const number of plan.replayParts()) await onMark(number);
      return plan.outputs;
    },
    trim() {
      if (arena.limitBytes() > keptBytes) arena.release();
    },
    limitBytes: () => arena.limitBytes() - arena.mostBytes(),
    dispose: () => [...recorded.keys()].forEach(drop),
  };
}
