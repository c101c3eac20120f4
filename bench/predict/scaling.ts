/**
 * A step of several ranks, predicted: what each computes, as `predict` says it of a rank's own share of the batch, and
 * what they say to each other (exchange.ts). Ranks are as fast as each other; waiting for the slowest is not in it.
 */
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

/** Weak: every rank has the shape's batch, so that batches grow. Strong: ranks share one batch. */
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

/** What a rank takes for its share. */
export interface RankStep {
  /** Seconds by phase. */
  phases: Record<string, number>;
  passes: number;
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
export function freedBytes(way: Way, values: number, ranks: number): number {
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
  { ranks, completions }: Pick<ScaledStep, "ranks" | "completions">,
  { device, link }: { device: Device; link: Interconnect },
): ScaledStep {
  const { phases, passes, values, scoreBytes } = step;
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
const sharedBatch = (completions: number) => 2 ** Math.ceil(Math.log2(completions));

const completionsOf = (
  { per_device_train_batch_size: own = 1, gradient_accumulation_steps: passes = 1 }: NamedShape["settings"],
) => own * passes;

/** Of a rank. */
export function shareOfRank({ settings }: NamedShape, mode: Mode, ranks: number): number {
  const all = completionsOf(settings);
  return mode === "weak" ? all : sharedBatch(all) / ranks;
}

/** The shape with a rank's share of completions; null where that is less than two, which the program never has alone. */
export function shapeOfRank(named: NamedShape, mode: Mode, ranks: number): NamedShape | null {
  const { settings } = named;
  const all = completionsOf(settings);
  const share = shareOfRank(named, mode, ranks);
  if (share < 2) return null;
  const prompts = Math.max(1, all / settings.num_generations! / (mode === "weak" ? 1 : ranks));
  const perPass = Math.min(settings.per_device_train_batch_size ?? 1, share);
  return {
    ...named,
    settings: {
      ...settings,
      num_generations: share / prompts,
      per_device_train_batch_size: perPass,
      gradient_accumulation_steps: share / perPass,
    },
  };
}

/** Records and predicts a rank's share. @param freed bytes that the other ranks hold in its place */
export async function rankStep(
  named: NamedShape,
  device: Device,
  options: StepOptions,
  freed: number,
): Promise<RankStep> {
  const room = { ...device, memoryBytes: device.memoryBytes + freed };
  const recorded = await recordStep(named, room, options);
  const { phases } = predict(recorded, device);
  return {
    phases: Object.fromEntries(phases.map(({ name, busy, idle }) => [name, busy + idle])),
    passes: completionsOf(named.settings) / recorded.rowsPerPass,
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

/** Every way at every number of ranks. */
export async function predictScaling(
  { shape, device, link, ranks: most, precision, tell }: ScalingOptions,
): Promise<Record<Mode, ScaledStep[]>> {
  const steps: Record<Mode, ScaledStep[]> = { weak: [], strong: [] };
  let values = 0;
  const known = new Map<string, RankStep>();
  for (const mode of ["weak", "strong"] as const) {
    for (const way of Object.keys(WAYS) as Way[]) {
      for (const ranks of worldsUpTo(most)) {
        const own = shapeOfRank(shape, mode, ranks);
        if (!own) continue;
        const completions = completionsOf(own.settings);
        const lora = way === "lora" ? "all-linear" : "none";
        const full: NamedShape = { ...own, settings: { ...own.settings, dtype: "bfloat16" } };
        tell?.(`${mode}, ${way}, ${ranks} ranks`);
        // Of full fine-tuning alone the optimizer's state is shared out; how many there are, its first recording says.
        const freed = freedBytes(way, values, ranks);
        const key = `${lora} ${completions} ${own.settings.num_generations} ${freed}`;
        const step = known.get(key) ??
          await rankStep(lora === "none" ? full : own, device, { lora, precision }, freed);
        known.set(key, step);
        if (lora === "none") values = step.values;
        steps[mode].push(scaledStep(way, step, { ranks, completions }, { device, link }));
      }
    }
  }
  return steps;
}
