/** What a run will take of the GPU's memory, against what there is: planned before the weights are loaded. */
import * as os from "node:os";
import { promisify } from "node:util";
import { execFile } from "node:child_process";
import { batchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import { formatBytes } from "../config/units.ts";
import { type GpuInfo, openCountingGpu, openGpu } from "../gpu/device.ts";
import { settledPrecision } from "../policy/precision.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { makeLearner } from "../train/learner.ts";
import { fittingPlan, type MemoryPlan, planMemory, type RunModels } from "../train/memory_plan.ts";
import { emptyPolicyOf, emptyScorer } from "./empty_models.ts";
import type { LoadingEvents } from "./events.ts";
import { servesScoreModels } from "./judges.ts";
import { DRIVER_SHARE, type PlanTarget } from "./named_gpus.ts";
import { longestSequence, type PromptLengths } from "./prompts.ts";

/** Bytes of GPU memory that are free, and how that is known; null where it cannot be asked. */
export interface MemoryBudget {
  bytes: number;
  source: string;
}

const GIB = 2 ** 30;

/** Free memory: as configured, of the system for software, else as nvidia-smi says, less the driver's share. */
export async function memoryBudget(
  config: Pick<RunConfig, "gpu_memory_gib">,
  info: Pick<GpuInfo, "isSoftware">,
): Promise<MemoryBudget | null> {
  if (config.gpu_memory_gib !== null) return { bytes: config.gpu_memory_gib * GIB, source: "gpu_memory_gib" };
  if (info.isSoftware) return { bytes: os.freemem(), source: "free system memory" };
  const query = ["--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"];
  const answer = await promisify(execFile)("nvidia-smi", query, { timeout: 10_000 }).catch(() => null);
  const lines = answer?.stdout.trim().split("\n").map((line) => /^\s*(\d+)\s*,\s*(\d+)\s*$/.exec(line));
  if (!lines?.every((line) => line !== null)) return null;
  const bytes = lines.map(([, free, total]) => (Number(free) - DRIVER_SHARE * Number(total)) * 2 ** 20);
  // Of several GPUs, WebGPU does not say which one is open: the smallest is safe.
  return {
    bytes: Math.max(0, Math.floor(Math.min(...bytes))),
    source: "nvidia-smi, less 5 % for its driver",
  };
}

/** What a run with these settings puts on the GPU. */
type ModelsOf = (config: RunConfig) => RunModels;

/** Changes that make a run smaller, those that cost least first. */
const REMEDIES: readonly Partial<RunConfig>[] = [
  { eval_batch_size: 8 },
  { gradient_checkpointing: true },
  { kv_cache_dtype: "float16" },
  { use_peft: true },
  { use_peft: true, eval_batch_size: 8, gradient_checkpointing: true, kv_cache_dtype: "float16" },
];

/** Ranks with which a run that does not fit may be tried. */
const MORE_RANKS = [2, 4, 8, 16];

/** The fewest ranks of a GPU each that the run would fit on; null where none are enough. */
async function findRanks(
  config: RunConfig,
  modelsOf: ModelsOf,
  budget: number,
  planWith: typeof planMemory,
  now: number,
): Promise<string | null> {
  if (config.use_peft || config.zero_stage === 0) return null;
  for (const size of MORE_RANKS.filter((more) => more > now)) {
    const smallest = { rowsPerPass: 1, recomputesLayers: true, sumsLayers: true, ranks: { rank: 0, size } };
    const bytes = await planWith(modelsOf(config), config, batchShape(config, size), smallest)
      .then(({ peakBytes }) => peakBytes, () => Infinity);
    if (bytes <= budget) {
      return `--num_processes ${size} on as many such GPUs (${formatBytes(bytes)} on each)`;
    }
  }
  return null;
}

/** Bytes that the run would take with other settings; infinite for what cannot even be planned. */
function bytesWith(
  config: RunConfig,
  modelsOf: ModelsOf,
  planWith: typeof planMemory,
  ranks: Pick<Communicator, "rank" | "size">,
): Promise<number> {
  const smallest = { rowsPerPass: 1, recomputesLayers: true, sumsLayers: true, ranks };
  return planWith(modelsOf(config), config, batchShape(config, ranks.size), smallest)
    .then(({ peakBytes }) => peakBytes, () => Infinity);
}

/** Settings with which the run would fit, as they are set on the command line. */
async function findRemedies(
  config: RunConfig,
  modelsOf: ModelsOf,
  budget: number,
  planWith: typeof planMemory,
  ranks: Pick<Communicator, "rank" | "size">,
): Promise<string[]> {
  const shorter = { max_completion_length: Math.ceil(config.max_completion_length / 2) };
  const found: string[] = [];
  for (const remedy of REMEDIES) {
    for (const change of [remedy, { ...remedy, ...shorter }]) {
      const bytes = await bytesWith({ ...config, ...change }, modelsOf, planWith, ranks);
      if (bytes > budget) continue;
      const settings = Object.entries(change).map(([key, value]) => `--set ${key}=${value}`).join(" ");
      found.push(`${settings} (${formatBytes(bytes)})`);
      break;
    }
    if (found.length === 2) break;
  }
  return found;
}

export interface PlannedMemory {
  plan: MemoryPlan;
  budget: MemoryBudget | null;
}

export interface PlanOptions {
  /** From outside: then the score models of the settings are not loaded. */
  scorer?: Scorer;
  /** To plan for that GPU instead of the open one; models then need no more than their config.json. */
  target?: PlanTarget;
  /** Those that train together, and which of them this is; default: one alone. */
  ranks?: Pick<Communicator, "rank" | "size">;
}

/**
 * Plans the run's memory and chooses how many completions are trained on at a time.
 * @throws RangeError when it takes more than there is; the message names settings that would fit
 */
export async function planRun(
  given: RunConfig,
  lengths: PromptLengths,
  events: LoadingEvents = {},
  { scorer, target, ranks = singleProcess }: PlanOptions = {},
): Promise<PlannedMemory> {
  const { info } = await (target ? openCountingGpu() : openGpu());
  const config = settledPrecision(given, target && (() => target.precision));
  const options = { events, fromConfig: target !== undefined };
  const modelsOf = (settings: RunConfig): RunModels => ({
    makePolicy: () =>
      emptyPolicyOf(settings, { ...options, mostPositions: longestSequence(lengths, settings) }),
    makeLearner,
    makeScorer: servesScoreModels(settings, scorer) ? () => emptyScorer(settings, options) : null,
    ...lengths,
  });
  const planWith: typeof planMemory = (models, settings, shape, passes) =>
    planMemory(models, settings, shape, passes, target?.device);
  const budget = target?.budget ?? await memoryBudget(config, info);
  const shape = batchShape(config, ranks.size);
  const limit = budget?.bytes ?? Infinity;
  const room = { budgetBytes: limit, isSoftware: target === undefined && info.isSoftware };
  const plan = await fittingPlan(modelsOf(config), config, shape, room, planWith, ranks);
  if (plan.peakBytes <= limit) return { plan, budget };
  const remedies = await findRemedies(config, modelsOf, limit, planWith, ranks);
  const more = await findRanks(config, modelsOf, limit, planWith, ranks.size);
  if (more !== null) remedies.push(more);
  const atATime = `one completion at a time${
    plan.recomputesLayers ? " and layers run again in backward" : ""
  }`;
  const largest = [...plan.parts].sort((a, b) => b.bytes - a.bytes).slice(0, 3)
    .map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  throw new RangeError(
    `The run needs ${formatBytes(plan.peakBytes)} of GPU memory even with ${atATime} ` +
      `(${largest}), and there are ${formatBytes(limit)} (${budget!.source}); ` +
      (remedies.length > 0
        ? `it fits with ${remedies.join(", or ")}`
        : "take a smaller model, or a GPU with more memory, or set gpu_memory_gib if there is more"),
  );
}
