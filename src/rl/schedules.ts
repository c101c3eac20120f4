/** The `lr_scheduler_type` names of transformers whose rate follows from the step's number alone. */
export type LrSchedulerType =
  | "constant"
  | "constant_with_warmup"
  | "linear"
  | "cosine"
  | "cosine_with_restarts"
  | "polynomial"
  | "inverse_sqrt"
  | "cosine_with_min_lr"
  | "cosine_warmup_with_min_lr"
  | "warmup_stable_decay";

/** Further arguments of a schedule, by transformers' names; config/schedule_arguments.ts says which schedule takes which. */
export type LrSchedulerKwargs = Readonly<Record<string, number | string>>;

export interface ScheduleConfig {
  learning_rate: number;
  lr_scheduler_type: LrSchedulerType;
  lr_scheduler_kwargs?: LrSchedulerKwargs | null;
  /** Below 1: a share of total_steps, rounded up. */
  warmup_steps: number;
  /** Optimizer steps of the whole run. */
  total_steps: number;
}

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

/**
 * Learning rate of optimizer step `step` (0 = the first), by the formulas of transformers' `get_scheduler`, as shares
 * of learning_rate; w = warm-up steps, n = total_steps, p = (step - w) / max(1, n - w), and in brackets the arguments:
 *
 *   warm-up (step < w)      step / w               for every schedule but `constant` and the last two
 *   constant, constant_with_warmup                 1
 *   linear                                         max(0, (n - step) / max(1, n - w))
 *   cosine [num_cycles c = 1/2]                    (1 + cos(2 pi c p)) / 2
 *   cosine_with_restarts [num_cycles c = 1]        (1 + cos(pi (c p mod 1))) / 2, and 0 from p = 1 on
 *   polynomial [lr_end = 1e-7, power k = 1]        from 1 to lr_end, (1 - p)^k of the way left
 *   inverse_sqrt [timescale s = w or 10000]        1 / sqrt((step - w + s) / s)
 *   cosine_with_min_lr [num_cycles, min_lr or min_lr_rate m]   m + (1 - m) cosine
 *   cosine_warmup_with_min_lr                      see `cosineWarmupWithMin`
 *   warmup_stable_decay                            see `warmupStableDecay`
 *
 * @throws RangeError when `polynomial` starts at or below the rate at which it ends.
 */
export function learningRate(step: number, config: ScheduleConfig): number {
  const { learning_rate: peak, lr_scheduler_type: type, total_steps: total } = config;
  const kwargs = config.lr_scheduler_kwargs ?? {};
  const warmup = warmupSteps(config.warmup_steps, total);
  const at: Position = {
    step,
    warmup,
    total,
    peak,
    progress: (step - warmup) / Math.max(1, total - warmup),
    given: (name, otherwise) => Number(kwargs[name] ?? otherwise),
    named: (name, otherwise) => String(kwargs[name] ?? otherwise),
  };
  if (type === "constant") return peak;
  if (type === "cosine_warmup_with_min_lr") return peak * cosineWarmupWithMin(at);
  if (type === "warmup_stable_decay") return peak * warmupStableDecay(at);
  if (step < warmup) return peak * (step / warmup);
  return peak * shareOfPeak(type, at);
}

/** Steps of warm-up: a number below 1 is a share of all steps, as in transformers' `get_warmup_steps`. */
function warmupSteps(stepsOrShare: number, total: number): number {
  return stepsOrShare >= 1 ? stepsOrShare : Math.ceil(total * stepsOrShare);
}

type AfterWarmup = Exclude<LrSchedulerType, "constant" | "cosine_warmup_with_min_lr" | "warmup_stable_decay">;

function shareOfPeak(type: AfterWarmup, at: Position): number {
  const { step, warmup, total, progress } = at;
  switch (type) {
    case "constant_with_warmup":
      return 1;
    case "linear":
      return Math.max(0, (total - step) / Math.max(1, total - warmup));
    case "cosine":
      return Math.max(0, cosine(2 * at.given("num_cycles", 0.5) * progress));
    case "cosine_with_restarts":
      return progress >= 1 ? 0 : cosine((at.given("num_cycles", 1) * progress) % 1);
    case "polynomial":
      return polynomial(at);
    case "inverse_sqrt": {
      const timescale = at.given("timescale", warmup === 0 ? 10_000 : warmup);
      return 1 / Math.sqrt((step - warmup + timescale) / timescale);
    }
    case "cosine_with_min_lr":
      return Math.max(0, above(minRate(at), cosine(2 * at.given("num_cycles", 0.5) * progress)));
  }
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
  const end = given("lr_end", 1e-7);
  if (peak <= end) {
    throw new RangeError(
      `Cannot decay learning_rate = ${peak}: "polynomial" ends at ${end}; start above it, or lower lr_end`,
    );
  }
  const left = 1 - Math.min(progress, 1);
  return ((peak - end) * left ** given("power", 1) + end) / peak;
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
