/**
 * Measures which kernel computes a run's matrix products fastest on this device. Only speed depends on what comes out:
 * all of them give the same bits.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { emptyTensor } from "../../gpu/tensors.ts";
import { linkKernel } from "../../gpu/wgsl.ts";
import { recordPlan } from "../../gpu/plan.ts";
import { timePlan } from "../../gpu/timing.ts";
import type { Weight, WeightFormat } from "../weight/weight.ts";
import {
  FULL_SIZE,
  FULL_WEIGHT,
  linearClass,
  type LinearSize,
  productSize,
  TUNED_KERNELS,
  valuesPerLoad,
} from "./choice.ts";
import { deviceCandidates, type LinearTuning, withLinearVariant } from "./facts.ts";
import { runLinear, runLinearGradW, runLinearGradX } from "./dispatch.ts";
import { likelyVariants, type LinearVariant } from "./tiles.ts";

/** Products of fewer rows are decoding's, all of which take the smallest tile. */
const LEAST_ROWS = 8;
/** Those that every weight makes, and then that of a trained one. */
const TUNED = ["output", "grad_x", "grad_w"] as const;
const REPEATS = 3;
/** Long against the steps of the clock: Dawn makes a GPU's as coarse as 0.1 ms, Deno looks every 10 ms for an end. */
const LEAST_SECONDS = { "gpu timestamps": 2e-3, "wall clock": 0.1 };
/** A variant that takes so many times the best one's time is not measured again. */
const HOPELESS = 3;

/** What tuning asks of a weight: whether it is trained, and not its values. */
export type TunedWeight = Pick<Weight, "shape" | "format"> & { readonly grad: unknown };

/**
 * One product of each class that linear layers with these weights make, with gradients, of up to `mostRows` tokens at a
 * time. Weights whose rows do not begin on 16 bytes have none: only the strided kernel takes them.
 */
export function linearSizes(
  weights: readonly TunedWeight[],
  mostRows: number,
): LinearSize[] {
  const sizes = new Map<string, LinearSize>();
  const add = (size: LinearSize) => {
    const key = linearClass(size);
    if (!sizes.has(key)) sizes.set(key, size);
  };
  for (const { shape, format, grad } of weights) {
    const [N, K] = shape.map((size) => Math.min(size, FULL_WEIGHT));
    if (shape.length !== 2 || K % valuesPerLoad(format) !== 0) continue;
    for (let rows = LEAST_ROWS; rows < 2 * Math.min(FULL_SIZE, mostRows); rows *= 2) {
      for (const product of grad ? TUNED : TUNED.slice(0, 2)) {
        add({ ...productSize(product, { M: rows, K, N }), format });
      }
    }
  }
  return [...sizes.values()];
}

/** Scratch operands of a product, whatever their buffers hold, and what runs it. */
function scratchProduct({ product, format, rows, columns, summed }: LinearSize) {
  const made: Tensor[] = [];
  const binding = (shape: number[]) => {
    made.push(emptyTensor(shape));
    return { tensor: made[made.length - 1] };
  };
  const weight = (shape: [number, number], format: WeightFormat, grad: Tensor | null = null): Weight => {
    const [N, K] = shape;
    const tensor = format === "f32" ? emptyTensor(shape) : emptyTensor([N, K / 2], "int32");
    made.push(tensor);
    return { name: "scratch", shape, format, tensor, grad };
  };
  const dispose = () => made.forEach((tensor) => tensor.dispose());
  const quads = (size: number) => Math.ceil(size / 4) * 4;
  if (product === "output") {
    const operands = { x: binding([rows, summed]), y: binding([rows, columns]), rows };
    const w = weight([columns, summed], format);
    return { run: () => runLinear({ ...operands, weight: w }), dispose };
  }
  if (product === "grad_x") {
    const operands = { dy: binding([rows, quads(summed)]), dx: binding([rows, columns]), rows };
    const w = weight([quads(summed), columns], format);
    return { run: () => runLinearGradX({ ...operands, weight: w }), dispose };
  }
  const operands = { dy: binding([summed, quads(rows)]), x: binding([summed, columns]), rows: summed };
  const grad = binding([quads(rows), columns]).tensor;
  // The weight itself takes no part.
  const w: Weight = { name: "scratch", shape: grad.shape, format, tensor: grad, grad };
  return { run: () => runLinearGradW({ ...operands, weight: w }), dispose };
}

/** Seconds of one run by one variant: the best of several measurements, or of one where that is hopeless. */
async function measure(run: () => void, variant: LinearVariant, best: number): Promise<number> {
  const plan = recordPlan(() => withLinearVariant(variant, run));
  try {
    plan.replay(); // the first run compiles
    const { seconds: once, source } = await timePlan(plan, 1);
    const least = LEAST_SECONDS[source];
    if (once > least && once > HOPELESS * best) return once;
    const times = Math.ceil(Math.min(100, least / once));
    let seconds = Infinity;
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      seconds = Math.min(seconds, (await timePlan(plan, times)).seconds / times);
    }
    return seconds;
  } finally {
    plan.dispose();
  }
}

async function fastestVariant(size: LinearSize, candidates: LinearVariant[]): Promise<LinearVariant> {
  const { run, dispose } = scratchProduct(size);
  let best = { variant: candidates[0], seconds: Infinity };
  try {
    for (const variant of candidates) {
      const seconds = await measure(run, variant, best.seconds);
      if (seconds < best.seconds) best = { variant, seconds };
    }
  } finally {
    dispose();
  }
  return best.variant;
}

/** Text of all kernels that are chosen among: what was measured holds for these. */
export function linearSources(): string {
  return TUNED_KERNELS.map((name) => linkKernel(name).text).join("\n");
}

export interface TuningOptions {
  /** What was measured on such a device before. */
  known?: LinearTuning;
  /** What to choose among; what this device runs unless given. */
  candidates?: LinearVariant[];
  onProgress?(done: number, total: number): void;
}

/**
 * The fastest variant of each size's class. Runs on the GPU for what is not known: seconds, for a model. Not to be
 * called while a plan is recorded. Takes the memory of the largest weight, of 16384 x 16384 at the most, and of 4096
 * rows of what goes into it and comes out, which the pool then holds.
 * @returns for these sizes, known ones included; empty where there is nothing to choose
 */
export async function tuneLinear(
  sizes: readonly LinearSize[],
  { known = {}, candidates = deviceCandidates(), onProgress }: TuningOptions = {},
): Promise<LinearTuning> {
  const tuning: LinearTuning = {};
  if (candidates.length < 2) return tuning;
  const isKnown = (size: LinearSize) => likelyVariants(size, candidates).includes(known[linearClass(size)]);
  for (const size of sizes.filter(isKnown)) tuning[linearClass(size)] = known[linearClass(size)];
  const missing = sizes.filter((size) => !isKnown(size));
  for (const [done, size] of missing.entries()) {
    onProgress?.(done, missing.length);
    tuning[linearClass(size)] = await fastestVariant(size, likelyVariants(size, candidates));
  }
  if (missing.length > 0) onProgress?.(missing.length, missing.length);
  return tuning;
}
