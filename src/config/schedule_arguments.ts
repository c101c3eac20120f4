/** The learning-rate schedules a configuration may name, and the arguments each takes, as in transformers. */
import type { Config } from "./schema.ts";

/** One argument of `lr_scheduler_kwargs`: what it must be, in words, and whether a value is that. */
interface Argument {
  requirement: string;
  accepts(value: unknown): boolean;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

const positive: Argument = {
  requirement: "a number > 0",
  accepts: (value) => isNumber(value) && value > 0,
};
const notNegative: Argument = {
  requirement: "a number >= 0",
  accepts: (value) => isNumber(value) && value >= 0,
};
const count: Argument = {
  requirement: "an integer >= 0",
  accepts: (value) => Number.isInteger(value) && (value as number) >= 0,
};
const share: Argument = {
  requirement: "a number >= 0 and <= 1",
  accepts: (value) => isNumber(value) && value >= 0 && value <= 1,
};
const SHAPES: readonly unknown[] = ["linear", "cosine", "1-sqrt"];
const shape: Argument = {
  requirement: 'one of "linear", "cosine", "1-sqrt"',
  accepts: (value) => SHAPES.includes(value),
};

/** Every `lr_scheduler_type` that follows from the step's number alone, with its arguments. */
const SCHEDULE_ARGUMENTS = {
  constant: {},
  constant_with_warmup: {},
  linear: {},
  cosine: { num_cycles: positive },
  cosine_with_restarts: { num_cycles: positive },
  polynomial: { lr_end: notNegative, power: positive },
  inverse_sqrt: { timescale: positive },
  cosine_with_min_lr: { num_cycles: positive, min_lr: notNegative, min_lr_rate: share },
  cosine_warmup_with_min_lr: {
    num_cycles: positive,
    min_lr: notNegative,
    min_lr_rate: share,
    warmup_lr_rate: share,
  },
  warmup_stable_decay: {
    num_decay_steps: count,
    num_stable_steps: count,
    warmup_type: shape,
    decay_type: shape,
    min_lr_ratio: share,
    num_cycles: positive,
  },
} satisfies Record<string, Record<string, Argument>>;

type ScheduleName = keyof typeof SCHEDULE_ARGUMENTS;

export const LR_SCHEDULER_TYPES = Object.keys(SCHEDULE_ARGUMENTS) as [ScheduleName, ...ScheduleName[]];

const FOLLOWS_A_METRIC =
  "it moves the learning rate by a metric of an evaluation, and here the rate follows from the step's number alone, " +
  "so that a resumed run has the same one; choose one of the others";

/** Names of transformers that are refused, and why. */
export const REFUSED_SCHEDULER_TYPES = {
  reduce_lr_on_plateau: FOLLOWS_A_METRIC,
  greedy: FOLLOWS_A_METRIC,
};

/** What is wrong with `lr_scheduler_kwargs` for the schedule that the configuration names, or null. */
export function scheduleProblem(config: Config): string | null {
  const type = config.lr_scheduler_type;
  const allowed: Record<string, Argument> = SCHEDULE_ARGUMENTS[type];
  const given = config.lr_scheduler_kwargs ?? {};
  for (const [name, value] of Object.entries(given)) {
    const argument = Object.hasOwn(allowed, name) ? allowed[name] : undefined;
    if (argument === undefined) {
      const names = Object.keys(allowed).join(", ");
      return `lr_scheduler_kwargs: "${type}" takes ${names || "no arguments"}, got "${name}"; remove it`;
    }
    if (!argument.accepts(value)) {
      return `lr_scheduler_kwargs: ${name} must be ${argument.requirement}, got ${
        JSON.stringify(value)
      }; change it`;
    }
  }
  return missingArgument(type, given) ?? aboveLearningRate(config);
}

function missingArgument(type: ScheduleName, given: Record<string, unknown>): string | null {
  const has = (name: string) => Object.hasOwn(given, name);
  if (type === "warmup_stable_decay" && !has("num_decay_steps")) {
    return `lr_scheduler_kwargs: "${type}" needs num_decay_steps, got none; add the number of steps of its last phase`;
  }
  if ("min_lr" in SCHEDULE_ARGUMENTS[type] && has("min_lr") === has("min_lr_rate")) {
    return `lr_scheduler_kwargs: "${type}" needs either min_lr or min_lr_rate, got ` +
      `${has("min_lr") ? "both; remove one" : "neither; add one"}`;
  }
  return null;
}

/** `polynomial` comes down to lr_end. */
function aboveLearningRate({ lr_scheduler_type, lr_scheduler_kwargs, learning_rate }: Config): string | null {
  const end = lr_scheduler_kwargs?.lr_end ?? 1e-7;
  if (lr_scheduler_type !== "polynomial" || learning_rate > Number(end)) return null;
  return `learning_rate must be > ${end}, where "polynomial" ends, got ${learning_rate}; raise it, or lower lr_end`;
}
