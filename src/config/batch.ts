/** The config keys that decide how many completions an optimizer step trains on. */
export interface BatchConfig {
  per_device_train_batch_size: number;
  gradient_accumulation_steps: number;
  num_generations: number;
}

export interface BatchShape {
  /** Completions sampled, scored and trained on per optimizer step, over all ranks. */
  completionsPerStep: number;
  promptsPerStep: number;
}

/**
 * Completions and prompts of an optimizer step:
 * completions = per_device_train_batch_size * worldSize * gradient_accumulation_steps, in whole groups of
 * num_generations.
 *
 * @throws RangeError, naming the nearest values that fit, when the completions are no whole groups or a group
 *   has fewer than two.
 */
export function batchShape(config: BatchConfig, worldSize = 1): BatchShape {
  const problem = batchProblem(config, worldSize);
  if (problem !== null) throw new RangeError(problem);
  const completionsPerStep = config.per_device_train_batch_size * worldSize *
    config.gradient_accumulation_steps;
  return { completionsPerStep, promptsPerStep: completionsPerStep / config.num_generations };
}

/** What is wrong with the batch and which values would fit, or null. */
export function batchProblem(config: BatchConfig, worldSize = 1): string | null {
  const {
    per_device_train_batch_size: perDevice,
    gradient_accumulation_steps: accumulation,
    num_generations: groupSize,
  } = config;
  if (groupSize < 2) {
    return `num_generations must be at least 2, got ${groupSize}: advantages compare completions of a prompt`;
  }
  const perMicroStep = perDevice * worldSize;
  const completions = perMicroStep * accumulation;
  if (completions % groupSize === 0) return null;
  const sizes = divisors(completions).filter((size) => size >= 2);
  const remedies = [
    `set gradient_accumulation_steps to ${
      orList(nearestAccumulation(perMicroStep, accumulation, groupSize))
    }`,
    ...(sizes.length > 0 ? [`or num_generations to ${orList(neighbours(sizes, groupSize))}`] : []),
  ];
  return `Cannot group ${completions} completions (per_device_train_batch_size ${perDevice} * ` +
    `${worldSize} device${worldSize === 1 ? "" : "s"} * gradient_accumulation_steps ${accumulation}): ` +
    `need a multiple of num_generations = ${groupSize}; ${remedies.join(" ")}`;
}

/** The multiples next below and next above that make whole groups. */
function nearestAccumulation(perMicroStep: number, accumulation: number, groupSize: number): number[] {
  const unit = groupSize / greatestCommonDivisor(perMicroStep, groupSize);
  const below = Math.floor(accumulation / unit) * unit;
  return [below, below + unit].filter((steps) => steps > 0);
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
 * prompts take (the last step may reach into the next pass).
 */
export function totalSteps(
  config: { max_steps: number; num_train_epochs: number },
  promptCount: number,
  promptsPerStep: number,
): number {
  if (config.max_steps > 0) return config.max_steps;
  return Math.ceil(config.num_train_epochs * promptCount / promptsPerStep);
}
