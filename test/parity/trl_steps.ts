/** Whole optimizer steps against TRL's GRPOTrainer; test/golden/make/trl_steps.py wrote the numbers. */
import { batchShape } from "../../src/config/batch.ts";
import { shuffledOrder, STREAM } from "../../src/rl/rng.ts";
import type { MetricName } from "../../src/tracking/metrics.ts";
import { differences, type ParityLine, worstRelative } from "./line.ts";
import {
  changeError,
  configOf,
  FOLDER,
  golden,
  type GoldenCompletion,
  type GoldenRun,
  type RunName,
  SEED,
  trainOnce,
} from "./trl_runs.ts";

async function parameterError(name: RunName): Promise<number> {
  return await changeError(await trainOnce(name), new URL(`${name}_after.safetensors`, FOLDER));
}

/** Tokens in the loss of each micro-batch of optimizer step `step`. */
function microBatchTokens(run: GoldenRun, step: number): number[] {
  const { per_device_train_batch_size: size, gradient_accumulation_steps: passes } = configOf(run);
  const { updatesPerGeneration, completionsPerGeneration } = batchShape(configOf(run));
  const windows = completionsPerGeneration / (size * passes);
  const generation = Math.floor(step / updatesPerGeneration);
  const completions = run.rollouts.flatMap((rollout) => rollout.completions)
    .slice(generation * completionsPerGeneration, (generation + 1) * completionsPerGeneration);
  const window = (step % updatesPerGeneration) % windows;
  const counted = ({ ids }: GoldenCompletion) =>
    run.settings.mask_truncated_completions && ids.at(-1) !== 2 ? 0 : ids.length;
  return Array.from({ length: passes }, (_, pass) => {
    const first = (window * passes + pass) * size;
    const rows = run.orders[generation].slice(first, first + size).map((i) => completions[i]);
    return rows.reduce((sum, completion) => sum + counted(completion), 0);
  });
}

/** Of each micro-batch, as far as a loss type logs them. */
const STEP_MEANS: MetricName[] = [
  "policy_loss",
  "vespo/phi_seq_mean",
  "kl",
  "entropy",
  "clip_ratio/low_mean",
  "clip_ratio/high_mean",
  "clip_ratio/region_mean",
];
const GENERATION_METRICS: MetricName[] = [
  "num_tokens",
  "reward",
  "reward_std",
  "frac_reward_zero_std",
  "completions/mean_length",
  "completions/min_length",
  "completions/max_length",
  "completions/mean_terminated_length",
  "completions/min_terminated_length",
  "completions/max_terminated_length",
  "completions/clipped_ratio",
];

/**
 * TRL's value of a step: a list has one for each micro-batch, of which ours weighs the means by tokens, or by
 * completions where these are clipped as a whole.
 */
function stepValue(run: GoldenRun, step: number, name: MetricName): number {
  const logged = run.steps[step][name];
  if (!Array.isArray(logged)) return logged;
  if (name.endsWith("_min")) return Math.min(...logged);
  if (name.endsWith("_max")) return Math.max(...logged);
  const isOfCompletions = run.settings.importance_sampling_level === "sequence" && name.startsWith("clip_");
  const tokens = isOfCompletions ? logged.map(() => 1) : microBatchTokens(run, step);
  const total = tokens.reduce((sum, count) => sum + count, 0);
  return logged.reduce((sum, value, i) => sum + value * tokens[i], 0) / total;
}

/** Worst error of what is logged; a row of ours is the mean over the optimizer steps of a generation batch. */
async function metricsError(name: RunName): Promise<number> {
  const run = golden.runs[name];
  const { rows } = await trainOnce(name);
  const steps = run.steps.length / rows.length;
  const stepMetrics: MetricName[] = [
    "loss",
    "grad_norm",
    ...STEP_MEANS,
    "clip_ratio/low_min",
    "clip_ratio/high_max",
  ]
    .filter((metric) => metric in run.steps[0]) as MetricName[];
  // What a step leaves to the next.
  const lastMetrics: MetricName[] = "entropy_coef" in run.steps[0] ? ["entropy_coef"] : [];
  return Math.max(...rows.flatMap((row, generation) => {
    const own = Array.from({ length: steps }, (_, i) => generation * steps + i);
    const meanOf = (metric: MetricName) =>
      own.reduce((sum, step) => sum + stepValue(run, step, metric), 0) / steps;
    const errorOf = (metric: MetricName, expected: number) => worstRelative([row[metric]!], [expected], 0.01);
    return [
      ...stepMetrics.map((metric) => errorOf(metric, meanOf(metric))),
      ...GENERATION_METRICS.map((metric) => errorOf(metric, (run.steps[own[0]][metric] as number[])[0])),
      ...lastMetrics.map((metric) => errorOf(metric, stepValue(run, own[own.length - 1], metric))),
      worstRelative([row.learning_rate!], [run.steps[own[own.length - 1]].learning_rate as number]),
    ];
  }));
}

/** @param limit of the parameters' error, and why */
function linesOf(name: RunName, what: string, limit: Pick<ParityLine, "limit" | "reason">): ParityLine[] {
  const reference = "TRL GRPOTrainer.train, f32";
  return [
    {
      what: `parameters after ${golden.runs[name].steps.length} optimizer steps, ${what}`,
      reference,
      measure: "relative Frobenius of the change",
      ...limit,
      worst: () => parameterError(name),
    },
    {
      what: `everything logged in these steps, ${what}`,
      reference,
      measure: "relative (to at least 0.01)",
      limit: 2e-5,
      worst: () => metricsError(name),
    },
    {
      what: `lambda after them, ${what}`,
      reference: "the rule in Python",
      measure: "relative",
      limit: 1e-15,
      reason: "exactly equal here; the last bit of exp and log is the runtime's",
      worst: async () => worstRelative([(await trainOnce(name)).lambda], [golden.runs[name].lambda]),
    },
  ];
}

export const lines: ParityLine[] = [
  ...linesOf(
    "on_policy",
    "one per generation (biases, grpo, KL, clipping, weight decay, accumulation 2, linear)",
    {
      limit: 2e-5,
    },
  ),
  ...linesOf(
    "off_policy",
    "four per generation (dapo, num_iterations 2, batch scaling, truncated left out)",
    {
      limit: 1e-4,
      reason:
        "AdamW divides a gradient by its size: where that is rounding alone, a last bit moves the parameter",
    },
  ),
  ...linesOf(
    "sequence",
    "two per generation (bnpo, a ratio per completion, delta, k3 alone, rewards unscaled, accumulation 4, warm-up)",
    { limit: 2e-5 },
  ),
  ...linesOf(
    "followed",
    "two per generation (vespo, a reference that follows, entropy bonus that adapts, token and off-policy masks)",
    { limit: 2e-5 },
  ),
  {
    what: "order in which a generation batch is cut into these steps",
    reference: "the one given to TRL",
    measure: "places that differ",
    limit: 0,
    worst: () => {
      const [first, second] = golden.runs.off_policy.orders;
      return differences([...shuffledOrder(16, SEED, 1, STREAM.minibatch)], first) +
        differences([...shuffledOrder(16, SEED, 5, STREAM.minibatch)], second);
    },
  },
];
