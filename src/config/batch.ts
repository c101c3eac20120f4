/** The config keys that decide how many completions are sampled at a time, and how often they are trained on. */
interface BatchConfig {
  algorithm: "grpo" | "es";
  es_batch_size: number;
  es_population_size: number;
  per_device_train_batch_size: number;
  gradient_accumulation_steps: number;
  /** null = gradient_accumulation_steps */
  steps_per_generation: number | null;
  num_iterations: number;
  num_generations: number;
}

/** A generation batch (what is sampled and scored at once) over all ranks, and the optimizer steps made of it. */
export interface BatchShape {
  completionsPerGeneration: number;
  promptsPerGeneration: number;
  /** Passes, of per_device_train_batch_size completions each, over the whole batch on one rank. */
  stepsPerGeneration: number;
  /** Optimizer steps until the next generation batch: num_iterations times over all passes. */
  updatesPerGeneration: number;
}

/**
 * The generation batch: completions = per_device_train_batch_size * worldSize * steps_per_generation, in whole
 * groups of num_generations, trained on in optimizer steps of gradient_accumulation_steps passes.
 *
 * @throws RangeError when the completions are no whole groups, a group has fewer than two, or the passes are no whole
 *   optimizer steps; it names the nearest values that fit
 */
export function batchShape(config: BatchConfig, worldSize = 1): BatchShape {
  if (config.algorithm === "es") return iterationShape(config);
  const problem = batchProblem(config, worldSize);
  if (problem !== null) throw new RangeError(problem);
  const accumulation = config.gradient_accumulation_steps;
  const stepsPerGeneration = config.steps_per_generation ?? accumulation;
  const completionsPerGeneration = config.per_device_train_batch_size * worldSize * stepsPerGeneration;
  return {
    completionsPerGeneration,
    promptsPerGeneration: completionsPerGeneration / config.num_generations,
    stepsPerGeneration,
    updatesPerGeneration: stepsPerGeneration / accumulation * config.num_iterations,
  };
}

/** An iteration of evolution strategies: every member answers each prompt once, and the policy moves once. */
function iterationShape({ es_batch_size, es_population_size }: BatchConfig): BatchShape {
  return {
    completionsPerGeneration: es_batch_size * es_population_size,
    promptsPerGeneration: es_batch_size,
    stepsPerGeneration: 1,
    updatesPerGeneration: 1,
  };
}

/** Completions of a prompt at a time: of a group, or one of each member. */
export const completionsPerPrompt = (
  { algorithm, num_generations, es_population_size }: Pick<
    BatchConfig,
    "algorithm" | "num_generations" | "es_population_size"
  >,
): number => algorithm === "es" ? es_population_size : num_generations;

/** What is wrong with the batch and which values would fit, or null. */
export function batchProblem(config: BatchConfig, worldSize = 1): string | null {
  if (config.algorithm === "es") return null;
  const {
    per_device_train_batch_size: perDevice,
    gradient_accumulation_steps: accumulation,
    num_generations: groupSize,
  } = config;
  if (groupSize < 2) {
    return `num_generations must be at least 2, got ${groupSize}: advantages compare completions of a prompt`;
  }
  const steps = config.steps_per_generation ?? accumulation;
  if (steps % accumulation !== 0) {
    return `steps_per_generation must be a multiple of gradient_accumulation_steps = ${accumulation}, got ${steps}: ` +
      `completions are trained on in whole optimizer steps; set ${
        orList(multiplesAround(steps, accumulation))
      }`;
  }
  const perMicroStep = perDevice * worldSize;
  const completions = perMicroStep * steps;
  if (completions % groupSize === 0) return null;
  const sizes = divisors(completions).filter((size) => size >= 2);
  const key = config.steps_per_generation === null ? "gradient_accumulation_steps" : "steps_per_generation";
  const unit = groupSize / greatestCommonDivisor(perMicroStep, groupSize);
  const fitting = config.steps_per_generation === null
    ? unit
    : unit * accumulation / greatestCommonDivisor(unit, accumulation);
  const remedies = [
    `set ${key} to ${orList(multiplesAround(steps, fitting))}`,
    ...(sizes.length > 0 ? [`or num_generations to ${orList(neighbours(sizes, groupSize))}`] : []),
  ];
  return `Cannot group ${completions} completions (per_device_train_batch_size ${perDevice} * ` +
    `${worldSize} device${worldSize === 1 ? "" : "s"} * ${key} ${steps}): ` +
    `need a multiple of num_generations = ${groupSize}; ${remedies.join(" ")}`;
}

/** The positive multiples of `unit` next below and next above `wanted`. */
function multiplesAround(wanted: number, unit: number): number[] {
  const below = Math.floor(wanted / unit) * unit;
  return [below, below + unit].filter((multiple) => multiple > 0);
}

/** The values of a sorted list next below and next above `wanted`. */
function neighbours(sorted: readonly number[], wanted: number): number[] {
  const below = sorted.filter((value) => value < wanted).at(-1);
  const above = sorted.find((value) => value > wanted);
  return [below, above].filter((value) => value !== undefined);
}

function divisors(n: number): number[] {
  const small: number[] = [];
  const large: number[] = [];
  for (let d = 1; d * d <= n; d++) {
    if (n % d !== 0) continue;
    small.push(d);
    if (d * d !== n) large.unshift(n / d);
  }
  return [...small, ...large];
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function orList(values: readonly number[]): string {
  return values.join(" or ");
}

/**
 * Optimizer steps of a run: max_steps when it is positive, else as many as num_train_epochs passes over the
 * prompts take, in whole generation batches (the last may reach into the next pass).
 *
 * @throws RangeError when max_steps would end a run amid a generation batch; it names the nearest values that fit
 */
export function totalSteps(
  config: { max_steps: number; num_train_epochs: number },
  promptCount: number,
  { promptsPerGeneration, updatesPerGeneration }: BatchShape,
): number {
  if (config.max_steps <= 0) {
    return wholeBatches(config.num_train_epochs * promptCount / promptsPerGeneration) * updatesPerGeneration;
  }
  if (config.max_steps % updatesPerGeneration === 0) return config.max_steps;
  throw new RangeError(
    `max_steps must be a multiple of the ${updatesPerGeneration} optimizer steps made of a generation batch ` +
      `(steps_per_generation / gradient_accumulation_steps * num_iterations), got ${config.max_steps}; ` +
      `set ${orList(multiplesAround(config.max_steps, updatesPerGeneration))}`,
  );
}

/** Far above the rounding of a product, and far below a prompt's share of any run. */
const ROUNDING = 1e-9;

/** The next whole number above, unless rounding alone lifted the value over one: 0.07 * 100 is 7.000000000000001. */
function wholeBatches(batches: number): number {
  const nearest = Math.round(batches);
  return Math.abs(batches - nearest) <= ROUNDING * nearest ? nearest : Math.ceil(batches);
}
