/** Faults of what is kept of completions, and of what W&B and TensorBoard show beside rows. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "src/tracking/rollouts_folder.ts",
    find: "if (step >= firstStep) await rm",
    replace: "if (step > firstStep + 1e9) await rm",
    harm: "completions of steps after the checkpoint stand beside those of the steps that were done again",
    tests: ["unit/rollouts.test.ts"],
  },
  {
    file: "src/tracking/step_advantages.ts",
    find: "Number.isFinite(score) ? score : NaN",
    replace: "Number.isFinite(score) ? score : 0",
    harm: "a completion without a score counts in its group's advantages as kept, and does not in training",
    tests: ["unit/rollouts.test.ts"],
  },
  {
    file: "src/tracking/rollout_query.ts",
    find: "return Number(one === null) - Number(other === null);",
    replace: "return Number(other === null) - Number(one === null);",
    harm: "completions without a score come before the best and the worst",
    tests: ["unit/rollouts.test.ts"],
  },
  {
    file: "src/tracking/where.ts",
    find: "if (one === null || other === null) return isEquality && holds(one === other ? 0 : 1);",
    replace: "",
    harm: "reward < 1 is said of completions without a reward",
    tests: ["unit/rollouts.test.ts"],
  },
  {
    file: "src/tracking/wandb/sink.ts",
    find: "sampleRows(isTrain ? batch : samples)",
    replace: "sampleRows(samples)",
    harm: "W&B's table of a step has debug_log_n_samples of the batch",
    tests: ["unit/wandb_sink.test.ts"],
  },
  {
    file: "src/tracking/tensorboard.ts",
    find:
      "board!.scalars(Object.entries(metrics).map(([name, value]) => [nameOf(name), value] as const), step)",
    replace: "board!.scalars(Object.entries(metrics), step)",
    harm: "tensorboard_names is ignored",
    tests: ["unit/tracker_events.test.ts#tensorboard_names"],
  },
];
