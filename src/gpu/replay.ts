/**
 * Functions of tensors, recorded once for each shape of what they take and replayed from then on: a replay costs a few
 * microseconds per kernel, where calling the ops (the tape, tfjs's bookkeeping, bind groups) costs a hundred.
 */
import * as tf from "@tensorflow/tfjs";
import { copyTensor } from "./tensors.ts";
import { type RecordedPlan, recordPlan } from "./plan.ts";
import { sameShaped, tensorsOf } from "./tensor_tree.ts";

interface Recorded {
  inputs: unknown;
  plan: RecordedPlan<unknown>;
}

export interface Replays {
  /**
   * outputs = build(inputs), replayed where it was recorded before for inputs of these shapes.
   * @param name of the function, and of all else that `build` reads: it is called only when a plan is recorded
   * @param build uses our ops alone, and may run a tape; it gets tensors in the places of `inputs`, which it may not
   *   keep
   * @returns what `build` made; good until the function is run again for inputs of the same shapes, or another is
   *   recorded
   */
  run<Inputs, Outputs>(name: string, inputs: Inputs, build: (inputs: Inputs) => Outputs): Outputs;
  /** Frees the plans used longest ago, until the rest is within the limit. */
  trim(): void;
  /**
   * Most bytes that plans of other sizes can take beside the one in use, the largest so far staying the largest: also
   * where that one is not kept itself, since smaller ones may have been there when it is recorded.
   */
  limitBytes(): number;
  dispose(): void;
}

/**
 * @param keptBytes a plan that takes more is not kept when another is recorded: then what JavaScript costs is little
 *   beside what the GPU has to do. Others are, in no more memory than the largest of them takes
 */
export function createReplays(keptBytes: number): Replays {
  let largest = 0;
  /** What may stay when another is recorded. */
  const allowedBytes = () => largest > keptBytes ? 0 : largest;
  /** In the order of their last use. */
  const recorded = new Map<string, Recorded>();
  const sizeBytes = () => [...recorded.values()].reduce((sum, { plan }) => sum + plan.sizeBytes, 0);
  const drop = (key: string) => {
    const { inputs, plan } = recorded.get(key)!;
    tf.dispose(tensorsOf(inputs));
    plan.dispose();
    recorded.delete(key);
  };
  const trim = () => {
    for (const key of recorded.keys()) {
      if (sizeBytes() <= allowedBytes()) return;
      drop(key);
    }
  };
  const record = <Inputs, Outputs>(inputs: Inputs, build: (inputs: Inputs) => Outputs): Recorded => {
    trim();
    const own = sameShaped(inputs);
    tensorsOf(own).forEach(tf.keep);
    const plan = recordPlan(() => build(own));
    largest = Math.max(largest, plan.sizeBytes);
    return { inputs: own, plan };
  };
  return {
    run(name, inputs, build) {
      const given = tensorsOf(inputs);
      const key = `${name} ${given.map(({ shape }) => `[${shape}]`).join("")}`;
      const found = recorded.get(key) ?? record(inputs, build);
      recorded.delete(key);
      recorded.set(key, found);
      tensorsOf(found.inputs).forEach((own, i) => copyTensor(given[i], own));
      found.plan.replay();
      return found.plan.outputs as ReturnType<typeof build>;
    },
    trim,
    limitBytes: () => Math.min(largest, keptBytes),
    dispose: () => [...recorded.keys()].forEach(drop),
  };
}
