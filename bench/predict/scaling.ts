/**
 * A step of several ranks, predicted: what each computes, as `predict` says it of a rank's own share of the batch, and
 * what they say to each other (exchange.ts). Ranks are as fast as each other; waiting for the slowest is not in it.
 */
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { NamedShape } from "../shapes.ts";
import type { Device } from "./devices.ts";
import {
  allGather,
  allReduce,
  type Exchange,
  gatherNumbers,
  NOTHING,
  reduceScatter,
  repeated,
  together,
} from "./exchange.ts";
import type { Interconnect } from "./interconnects.ts";
import { fmaFlops } from "./model.ts";
import { recordStep, type StepOptions } from "./plans.ts";
import { predict } from "./predict.ts";

/** How ranks train. */
export const WAYS = {
  lora: "LoRA: one sum of all gradients, in f32",
  zero: "full, ZeRO-2: gradients stay whole until the step, then reduce-scatter and all-gather in bf16",
  zeroPasses: "full, ZeRO-2: gradients are sharded too, by a reduce-scatter in bf16 after every pass",
  es: "evolution strategies: no gradient; seeds are known, costs and rewards are gathered",
} as const;

export type Way = keyof typeof WAYS;

/** Weak: every rank has a batch, so that batches grow. Strong: ranks share one. */
export type Mode = "weak" | "strong";

export interface ScaledStep {
  way: Way;
  ranks: number;
  /** Of each rank. */
  completions: number;
  /** Seconds of each rank alone. */
  compute: number;
  exchange: Exchange;
  /** Seconds of the exchange that backward could hide. */
  hidden: number;
  /** GPU memory of a rank; score models apart. */
  bytes: number;
  scoreBytes: number;
}

/** What a rank takes for its share of completions. */
export interface RankStep {
  completions: number;
  /** Seconds by phase. */
  phases: Record<string, number>;
  rowsPerPass: number;
  values: number;
  /** Memory of one rank alone, with all of the optimizer's state; score models apart. */
  bytes: number;
  scoreBytes: number;
}

/** Bytes of a trained number: bf16 in weights and on the wire; gradient; f32 master and AdamW's two moments. */
const HALF = 2;
const GRADIENT = 4;
const OPTIMIZER = 12;
/** f32 operations of a number of noise: a quarter of ten rounds of Philox, half of a Box-Muller pair. */
const NOISE_OPERATIONS = 30;
/** Gathers of scores, lengths, texts and statistics, of a step; bytes of each rank in each. */
const SMALL_GATHERS = 20;
const SMALL_BYTES = 16e3;

const sumOf = (phases: RankStep["phases"], ...names: string[]) =>
  names.reduce((sum, name) => sum + (phases[name] ?? 0), 0);

/** Bytes of full fine-tuning that a rank of so many has no more. */
function freedBytes(way: Way, values: number, ranks: number): number {
  const sharded = way === "zero" ? OPTIMIZER : way === "zeroPasses" ? OPTIMIZER + GRADIENT : 0;
  return sharded * values * (1 - 1 / ranks);
}

/** Seconds in which a member of the population is made, undone and counted in the update of all. */
function noiseSeconds(values: number, ranks: number, device: Device): number {
  const sweep = 2 * HALF * values / device.copyBytes;
  const noise = NOISE_OPERATIONS * values / fmaFlops(device);
  // Each rank makes its own member and takes it back, then adds up those of all in one sweep.
  return 2 * Math.max(sweep, noise) + Math.max(sweep, ranks * noise);
}

/** Pure. @param step of this rank's share, recorded for this way and so many ranks */
export function scaledStep(
  way: Way,
  step: RankStep,
  ranks: number,
  { device, link }: { device: Device; link: Interconnect },
): ScaledStep {
  const { phases, values, scoreBytes, completions } = step;
  const passes = Math.ceil(completions / step.rowsPerPass);
  const all = Object.values(phases).reduce((sum, seconds) => sum + seconds, 0);
  const small = repeated(gatherNumbers(SMALL_BYTES, ranks, link), SMALL_GATHERS);
  const given = { way, ranks, completions, scoreBytes, hidden: 0 };
  if (way === "lora") {
    const exchange = together(small, allReduce(GRADIENT * values, ranks, link));
    return { ...given, compute: all, exchange, bytes: step.bytes };
  }
  if (way === "es") {
    const own = sumOf(phases, "prefill", "decode", "score") + noiseSeconds(values, ranks, device);
    // Neither gradients nor moments, and no reference: what is left is the weights and what generation takes.
    const bytes = step.bytes - (GRADIENT + OPTIMIZER + HALF) * values;
    return { ...given, compute: own, exchange: small, bytes };
  }
  const scatters = way === "zero" ? 1 : passes;
  const scatter = reduceScatter(HALF * values, ranks, link);
  const gather = allGather(HALF * values, ranks, link);
  const backward = sumOf(phases, "backward", "recompute") / passes;
  const optimizer = sumOf(phases, "optimizer");
  return {
    ...given,
    compute: all - optimizer + optimizer / ranks,
    exchange: ranks === 1 ? NOTHING : together(small, repeated(scatter, scatters), gather),
    hidden: ranks === 1 ? 0 : scatters * Math.min(scatter.seconds, backward),
    bytes: step.bytes - freedBytes(way, values, ranks),
  };
}

/** A batch that ranks can share: the shape's, up to the next power of two. */
const sharedBatch = (
  { settings: { per_device_train_batch_size: own = 1, gradient_accumulation_steps: passes = 1 } }: NamedShape,
) => 2 ** Math.ceil(Math.log2(own * passes));

/** The shape with a share of the batch: as many prompts as the batch has, as far as each keeps two completions. */
export function shapeOfShare(named: NamedShape, completions: number): NamedShape {
  const { settings } = named;
  const { per_device_train_batch_size: own = 1, gradient_accumulation_steps: passes = 1 } = settings;
  const prompts = own * passes / settings.num_generations!;
  const group = sharedBatch(named) / prompts;
  const perPass = Math.min(own, completions);
  return {
    ...named,
    settings: {
      ...settings,
      num_generations: Math.min(group, completions),
      per_device_train_batch_size: perPass,
      gradient_accumulation_steps: completions / perPass,
    },
  };
}

/** Shares of the batch that are recorded; those between lie on a line, as nearly all phases do. */
const RECORDED_SHARES = [1, 1 / 4, 1 / 16];

/** Pure. @param recorded from the largest share to the smallest, two or more */
export function stepOfShare(recorded: readonly RankStep[], completions: number): RankStep {
  const at = recorded.findIndex((step, i) =>
    i > 0 && (step.completions <= completions || i === recorded.length - 1)
  );
  const [large, small] = [recorded[at - 1], recorded[at]];
  const place = (completions - small.completions) / (large.completions - small.completions);
  const between = (name: string) => small.phases[name] + place * (large.phases[name] - small.phases[name]);
  // Rounding apart, no phase takes less than with fewer completions.
  const phases = Object.fromEntries(
    Object.keys(small.phases).map((name) => [name, Math.max(0, between(name))]),
  );
  return { ...large, completions, phases, rowsPerPass: Math.min(large.rowsPerPass, completions) };
}

/** Records and predicts a share. @param freed bytes that are not this rank's to hold */
async function rankStep(
  named: NamedShape,
  device: Device,
  options: StepOptions,
  freed: number,
): Promise<RankStep> {
  const { completionsPerGeneration } = batchShape({ ...defaultConfig(), ...named.settings });
  const room = { ...device, memoryBytes: device.memoryBytes + freed };
  const recorded = await recordStep(named, room, { ...options, stepOnly: true });
  const { phases } = predict(recorded, device);
  return {
    completions: completionsPerGeneration,
    phases: Object.fromEntries(phases.map(({ name, busy, idle }) => [name, busy + idle])),
    rowsPerPass: recorded.rowsPerPass,
    values: recorded.trained.values,
    bytes: recorded.peakBytes - recorded.scoreBytes,
    scoreBytes: recorded.scoreBytes,
  };
}

export interface ScalingOptions {
  shape: NamedShape;
  device: Device;
  link: Interconnect;
  /** The most; 1, 2, 4 and so on up to it. */
  ranks: number;
  precision?: StepOptions["precision"];
  tell?(text: string): void;
}

export const worldsUpTo = (ranks: number): number[] =>
  Array.from({ length: Math.floor(Math.log2(ranks)) + 1 }, (_, power) => 2 ** power);

/** Full fine-tuning is recorded with the room that a rank of so many has, score models being on other GPUs. */
const RECORDED_RANKS = 4;

/** Of each share, the largest first. */
async function recordShares(
  isFull: boolean,
  { shape, device, precision, tell }: ScalingOptions,
): Promise<RankStep[]> {
  const steps: RankStep[] = [];
  const { shape: model } = shape;
  const settings: NamedShape["settings"] = isFull ? { ...shape.settings, dtype: "bfloat16" } : shape.settings;
  const options: StepOptions = { lora: isFull ? "none" : "all-linear", precision };
  const values = modelValues(model);
  const freed = isFull ? freedBytes("zero", values, RECORDED_RANKS) + 2 * HALF * values : 0;
  for (const share of RECORDED_SHARES) {
    const completions = Math.max(2, sharedBatch(shape) * share);
    tell?.(`${isFull ? "full" : "LoRA"}, ${completions} completions`);
    steps.push(await rankStep(shapeOfShare({ ...shape, settings }, completions), device, options, freed));
  }
  return steps;
}

/** Numbers in the matrices of a model, head and embedding apart from each other; its norms are few. */
function modelValues(
  { hidden: D, intermediate: F, layers, heads, kvHeads, vocab }: NamedShape["shape"],
): number {
  return layers * (2 * D * D + 2 * D * D * kvHeads / heads + 3 * D * F) + 2 * vocab * D;
}

/** Every way at every number of ranks. */
export async function predictScaling(options: ScalingOptions): Promise<Record<Mode, ScaledStep[]>> {
  const steps: Record<Mode, ScaledStep[]> = { weak: [], strong: [] };
  const batch = sharedBatch(options.shape);
  const [adapters, full] = [await recordShares(false, options), await recordShares(true, options)];
  for (const way of Object.keys(WAYS) as Way[]) {
    const shares = way === "lora" ? adapters : full;
    for (const ranks of worldsUpTo(options.ranks)) {
      steps.weak.push(scaledStep(way, stepOfShare(shares, batch), ranks, options));
      const share = batch / ranks;
      if (share >= 1) steps.strong.push(scaledStep(way, stepOfShare(shares, share), ranks, options));
    }
  }
  return steps;
}
