/**
 * Learning-rate schedules, by the names and formulas of transformers' `get_scheduler`. All that the program knows of
 * one is its entry in SCHEDULES: the configuration, its rules and the resume check read it there.
 */
import { type Argument, count, notNegative, positive, shape, share } from "./schedule_arguments.ts";

/** Further arguments of a schedule, by transformers' names. */
type LrSchedulerKwargs = Readonly<Record<string, number | string>>;

/** What the formulas read: step, w, n and the arguments. */
interface Position {
  step: number;
  warmup: number;
  total: number;
  peak: number;
  /** p = (step - w) / max(1, n - w) */
  progress: number;
  /** An argument, or its default. */
  given(name: string, otherwise: number): number;
  /** An argument in words, or its default. */
  named(name: string, otherwise: string): string;
}

export interface Schedule {
  /** Share of the peak rate at a step: after the warm-up where that is "linear", of every step where it is not. */
  share(at: Position): number;
  /** linear: step / w while step < w; own: the formula has one; none: warmup_steps does nothing. */
  warmup: "linear" | "own" | "none";
  /** Whether the rate of a step depends on the length of the run. */
  dependsOnLength: boolean;
  /** What lr_scheduler_kwargs may hold. */
  arguments: Readonly<Record<string, Argument>>;
  /** An argument that must be given, and what to give. */
  required?: { name: string; meaning: string };
  /** Two arguments of which exactly one must be given. */
  eitherOf?: readonly [string, string];
  /** Rate at which it ends, which the peak must be above. */
  end?(given: LrSchedulerKwargs | null | undefined): number;
}

/** Where `polynomial` ends unless lr_end says otherwise. */
const LR_END = 1e-7;

const lrEnd = (given: LrSchedulerKwargs | null | undefined) => Number(given?.lr_end ?? LR_END);

const minLr = { num_cycles: positive, min_lr: notNegative, min_lr_rate: share };

/**
 * Every `lr_scheduler_type` whose rate follows from the step's number alone. w = warm-up steps, n = total_steps,
 * p = (step - w) / max(1, n - w), and in brackets the arguments with their defaults:
 *
 *   constant, constant_with_warmup                 1
 *   linear                                         max(0, (n - step) / max(1, n - w))
 *   cosine [num_cycles c = 1/2]                    (1 + cos(2 pi c p)) / 2
 *   cosine_with_restarts [num_cycles c = 1]        (1 + cos(pi (c p mod 1))) / 2, and 0 from p = 1 on
 *   polynomial [lr_end = 1e-7, power k = 1]        from 1 to lr_end, (1 - p)^k of the way left
 *   inverse_sqrt [timescale s = w or 10000]        1 / sqrt((step - w + s) / s)
 *   cosine_with_min_lr [num_cycles, min_lr or min_lr_rate m]   m + (1 - m) cosine
 *   cosine_warmup_with_min_lr                      see `cosineWarmupWithMin`
 *   warmup_stable_decay                            see `warmupStableDecay`
 */
export const SCHEDULES = {
  constant: { share: () => 1, warmup: "none", dependsOnLength: false, arguments: {} },
  constant_with_warmup: { share: () => 1, warmup: "linear", dependsOnLength: false, arguments: {} },
  linear: {
    share: ({ step, warmup, total }) => Math.max(0, (total - step) / Math.max(1, total - warmup)),
    warmup: "linear",
    dependsOnLength: true,
    arguments: {},
  },
  cosine: {
    share: ({ progress, given }) => Math.max(0, cosine(2 * given("num_cycles", 0.5) * progress)),
    warmup: "linear",
    dependsOnLength: true,
    arguments: { num_cycles: positive },
  },
  cosine_with_restarts: {
    share: ({ progress, given }) => progress >= 1 ? 0 : cosine((given("num_cycles", 1) * progress) % 1),
    warmup: "linear",
    dependsOnLength: true,
    arguments: { num_cycles: positive },
  },
  polynomial: {
    share: polynomial,
    warmup: "linear",
    dependsOnLength: true,
    arguments: { lr_end: notNegative, power: positive },
    end: lrEnd,
  },
  inverse_sqrt: {
    share: inverseSqrt,
    warmup: "linear",
    dependsOnLength: false,
    arguments: { timescale: positive },
  },
  cosine_with_min_lr: {
    share: cosineWithMin,
    warmup: "linear",
    dependsOnLength: true,
    arguments: minLr,
    eitherOf: ["min_lr", "min_lr_rate"],
  },
  cosine_warmup_with_min_lr: {
    share: cosineWarmupWithMin,
    warmup: "own",
    dependsOnLength: true,
    arguments: { ...minLr, warmup_lr_rate: share },
    eitherOf: ["min_lr", "min_lr_rate"],
  },
  warmup_stable_decay: {
    share: warmupStableDecay,
    warmup: "own",
    dependsOnLength: true,
    arguments: {
      num_decay_steps: count,
      num_stable_steps: count,
      warmup_type: shape,
      decay_type: shape,
      min_lr_ratio: share,
      num_cycles: positive,
    },
    required: { name: "num_decay_steps", meaning: "the number of steps of its last phase" },
  },
} satisfies Record<string, Schedule>;

export type LrSchedulerType = keyof typeof SCHEDULES;

/** Names of the schedules, in the table's order. */
export const LR_SCHEDULER_TYPES = Object.keys(SCHEDULES) as [LrSchedulerType, ...LrSchedulerType[]];

const FOLLOWS_A_METRIC =
  "it moves the learning rate by a metric of an evaluation, and here the rate follows from the step's number alone, " +
  "so that a resumed run has the same one; choose one of the others";

/** Names of transformers that are refused, and why. */
export const REFUSED_SCHEDULER_TYPES = {
  reduce_lr_on_plateau: FOLLOWS_A_METRIC,
  greedy: FOLLOWS_A_METRIC,
};

export interface ScheduleConfig {
  learning_rate: number;
  lr_scheduler_type: LrSchedulerType;
  lr_scheduler_kwargs?: LrSchedulerKwargs | null;
  /** Below 1: a share of total_steps, rounded up. */
  warmup_steps: number;
  /** Optimizer steps of the whole run. */
  total_steps: number;
}

/**
 * Learning rate of optimizer step `step` (0 = the first): learning_rate times its schedule's share.
 *
 * @throws RangeError when `polynomial` starts at or below the rate at which it ends
 */
export function learningRate(step: number, config: ScheduleConfig): number {
  const { learning_rate: peak, total_steps: total } = config;
  const schedule: Schedule = SCHEDULES[config.lr_scheduler_type];
  const kwargs = config.lr_scheduler_kwargs ?? {};
  const warmup = warmupSteps(config.warmup_steps, total);
  if (schedule.warmup === "linear" && step < warmup) return peak * (step / warmup);
  return peak * schedule.share({
    step,
    warmup,
    total,
    peak,
    progress: (step - warmup) / Math.max(1, total - warmup),
    given: (name, otherwise) => Number(kwargs[name] ?? otherwise),
    named: (name, otherwise) => String(kwargs[name] ?? otherwise),
  });
}

/** Steps of warm-up: a number below 1 is a share of all steps, as in transformers' `get_warmup_steps`. */
function warmupSteps(stepsOrShare: number, total: number): number {
  return stepsOrShare >= 1 ? stepsOrShare : Math.ceil(total * stepsOrShare);
}

/** 1 at 0, 0 at 1. */
function cosine(halfTurns: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * halfTurns));
}

/** A share of the way from `floor` to 1. */
function above(floor: number, share: number): number {
  return share * (1 - floor) + floor;
}

function minRate({ given, peak }: Position): number {
  return given("min_lr_rate", given("min_lr", 0) / peak);
}

function polynomial({ progress, peak, given }: Position): number {
  const end = given("lr_end", LR_END);
  if (peak <= end) {
    throw new RangeError(
      `Cannot decay learning_rate = ${peak}: "polynomial" ends at ${end}; start above it, or lower lr_end`,
    );
  }
  const left = 1 - Math.min(progress, 1);
  return ((peak - end) * left ** given("power", 1) + end) / peak;
}

function inverseSqrt({ step, warmup, given }: Position): number {
  const timescale = given("timescale", warmup === 0 ? 10_000 : warmup);
  return 1 / Math.sqrt((step - warmup + timescale) / timescale);
}

function cosineWithMin(at: Position): number {
  return Math.max(0, above(minRate(at), cosine(2 * at.given("num_cycles", 0.5) * at.progress)));
}

/**
 * Warm-up from warmup_lr_rate r (given) by r + (1 - r) step / max(1, w - 1), else by (step + 1) / w; then
 * m + (1 - m) cosine, one step ahead of the other cosines: p = (step - w + 1) / max(1, n - w).
 */
function cosineWarmupWithMin(at: Position): number {
  const { step, warmup, total, given } = at;
  if (step < warmup) {
    const start = given("warmup_lr_rate", NaN);
    return Number.isNaN(start) ? (step + 1) / warmup : above(start, step / Math.max(1, warmup - 1));
  }
  const progress = (step - warmup + 1) / Math.max(1, total - warmup);
  return Math.max(0, above(minRate(at), cosine(2 * given("num_cycles", 0.5) * progress)));
}

/**
 * From min_lr_ratio m (0) up to 1 over w steps by warmup_type (linear), 1 for num_stable_steps (what the other two
 * phases leave of n), down to m over num_decay_steps by decay_type (cosine), m after it.
 */
function warmupStableDecay(at: Position): number {
  const { step, warmup, total, given, named } = at;
  const floor = given("min_lr_ratio", 0);
  if (step < warmup) return Math.max(0, above(floor, rise(named("warmup_type", "linear"), step / warmup)));
  const decay = given("num_decay_steps", 0);
  const begin = warmup + given("num_stable_steps", total - warmup - decay);
  if (step < begin) return 1;
  if (step >= begin + decay) return floor;
  const fallen = fall(named("decay_type", "cosine"), (step - begin) / decay, given("num_cycles", 0.5));
  return Math.max(0, above(floor, fallen));
}

function rise(shape: string, progress: number): number {
  if (shape === "cosine") return 0.5 * (1 - Math.cos(Math.PI * progress));
  return shape === "linear" ? progress : 1 - Math.sqrt(1 - progress);
}

function fall(shape: string, progress: number, cycles: number): number {
  if (shape === "cosine") return cosine(2 * cycles * progress);
  return shape === "linear" ? 1 - progress : 1 - Math.sqrt(progress);
}
