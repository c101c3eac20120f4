/** What a run will take of the GPU's memory, against what there is: planned before the weights are loaded. */
import * as os from "node:os";
import { promisify } from "node:util";
import { execFile } from "node:child_process";
import { batchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import { type GpuInfo, openGpu } from "../gpu/device.ts";
import { openModelFolder } from "../io/model/model_folder.ts";
import { readPrompts } from "../io/prompts/prompts.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { singleProcess } from "../parallel/communicator.ts";
import { makeTrunk } from "../policy/llama.ts";
import type { Policy } from "../policy/trunk.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import { passLimitBytes } from "../policy/pass_replays.ts";
import { loadScoreModel, parseScoreConfig, scoreSequences } from "../policy/score_model.ts";
import { loadPolicyWeights } from "../policy/weights.ts";
import { emptySource, type WeightSource } from "../policy/weight_source.ts";
import { makeLearner } from "../train/loop.ts";
import {
  fittingPlan,
  type MemoryPlan,
  planMemory,
  type PlannedScorer,
  type RunModels,
} from "../train/memory_plan.ts";
import { encodePrompts, type Prompt } from "../train/prompts.ts";
import { adapterSettings, makeAdapters } from "./adapters.ts";
import { formatBytes } from "../cli/doctor/diagnosis.ts";
import { resolveModel } from "./hub.ts";
import { loadTokenizerOf, withModel } from "./models.ts";

/** Bytes of GPU memory that are free, and how that is known; null where it cannot be asked. */
export interface MemoryBudget {
  bytes: number;
  source: string;
}

const GIB = 2 ** 30;

/** Free memory: as configured, of the system for software, else as nvidia-smi says. */
export async function memoryBudget(
  config: Pick<RunConfig, "gpu_memory_gib">,
  info: Pick<GpuInfo, "isSoftware">,
): Promise<MemoryBudget | null> {
  if (config.gpu_memory_gib !== null) return { bytes: config.gpu_memory_gib * GIB, source: "gpu_memory_gib" };
  if (info.isSoftware) return { bytes: os.freemem(), source: "free system memory" };
  const query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"];
  const answer = await promisify(execFile)("nvidia-smi", query, { timeout: 10_000 }).catch(() => null);
  const mebibytes = answer?.stdout.trim().split("\n");
  // Of several GPUs, WebGPU does not say which one is open: the smallest is safe.
  if (!mebibytes?.every((line) => /^\s*\d+\s*$/.test(line))) return null;
  return { bytes: Math.min(...mebibytes.map(Number)) * 2 ** 20, source: "nvidia-smi" };
}

/** Opens a model's folder and hands on its config and a source of its shapes without values. */
async function withShapes<R>(
  dir: string,
  use: (
    folder: { configText: string; configPath: string; source: WeightSource },
  ) => Promise<R>,
): Promise<R> {
  const folder = await openModelFolder(dir);
  try {
    const { configText, configPath, source } = folder;
    return await use({ configText, configPath, source: emptySource(source.shapeOf, source.formatOf) });
  } finally {
    await folder.close();
  }
}

/** The policy that a run trains, with new adapters where it has any. @param source without values */
export async function emptyPolicy(
  source: WeightSource,
  model: ModelConfig,
  config: RunConfig,
): Promise<Policy> {
  const settings = adapterSettings(config);
  const weights = await loadPolicyWeights(source, model, settings ? "frozen" : config.dtype);
  return { ...makeTrunk(model, weights), adapters: await makeAdapters(weights, null, settings, model) };
}

const emptyPolicyOf = (config: RunConfig) =>
  withModel(config.model_name, ({ base }) =>
    withShapes(
      base.dir,
      ({ configText, configPath, source }) =>
        emptyPolicy(source, parseModelConfig(configText, configPath), config),
    ));

async function emptyScorer(config: RunConfig): Promise<PlannedScorer> {
  const load = async (name: string) =>
    await withShapes(
      (await resolveModel(name)).dir,
      ({ configText, configPath, source }) =>
        loadScoreModel(source, parseScoreConfig(configText, configPath)),
    );
  const models = [await load(config.reward_model), await load(config.cost_model)];
  /** Texts of `length` tokens, the ones of a group the same but for the last `own`. */
  const texts = (rows: number, length: number, own: number) =>
    Array.from({ length: rows }, (_, row) => {
      const group = own === length ? row : Math.floor(row / config.num_generations);
      return Int32Array.from({ length }, (_, t) => t < length - own ? group : row);
    });
  return {
    async score(rows, length) {
      for (const model of models) {
        const most = Math.min(length, model.trunk.config.maxPositions);
        await scoreSequences(model, texts(rows, most, most));
        await scoreSequences(model, texts(rows, most, Math.min(most, config.max_completion_length)));
      }
    },
    passLimitBytes: () => models.reduce((sum, { replays }) => sum + passLimitBytes(replays), 0),
  };
}

export interface RunPrompts {
  tokenizer: Tokenizer;
  prompts: Prompt[];
  evalPrompts: Prompt[] | null;
}

/** The run's prompts as the policy reads them. */
export async function loadPrompts(config: RunConfig): Promise<RunPrompts> {
  const tokenizer = await loadTokenizerOf(config.model_name);
  const encode = async (path: string, maxSamples?: number) =>
    encodePrompts(
      tokenizer,
      await readPrompts(path, { promptKey: config.prompt_key, maxSamples }),
      config.max_prompt_length,
    );
  return {
    tokenizer,
    prompts: await encode(config.train_jsonl, config.max_samples ?? undefined),
    evalPrompts: config.eval_jsonl === null ? null : await encode(config.eval_jsonl),
  };
}

export function lengthsOf(
  { prompts, evalPrompts }: Pick<RunPrompts, "prompts" | "evalPrompts">,
): PromptLengths {
  const longest = (list: readonly Prompt[]) => list.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  return {
    longestPrompt: longest(prompts),
    longestEvalPrompt: longest(evalPrompts ?? []),
    evalPrompts: evalPrompts?.length ?? 0,
  };
}

export const promptLengths = async (config: RunConfig) => lengthsOf(await loadPrompts(config));

export interface PromptLengths {
  longestPrompt: number;
  longestEvalPrompt: number;
  evalPrompts: number;
}

const runModels = (config: RunConfig, lengths: PromptLengths): RunModels => ({
  makePolicy: () => emptyPolicyOf(config),
  makeLearner,
  makeScorer: config.scorer_url === null ? () => emptyScorer(config) : null,
  ...lengths,
});

/** Changes that make a run smaller, those that cost least first. */
const REMEDIES: readonly Partial<RunConfig>[] = [
  { eval_batch_size: 8 },
  { gradient_checkpointing: true },
  { kv_cache_dtype: "float16" },
  { use_peft: true },
  { use_peft: true, eval_batch_size: 8, gradient_checkpointing: true, kv_cache_dtype: "float16" },
];

/** Bytes that the run would take with other settings; infinite for what cannot even be planned. */
function bytesWith(config: RunConfig, lengths: PromptLengths): Promise<number> {
  return planMemory(runModels(config, lengths), config, batchShape(config), 1)
    .then(({ peakBytes }) => peakBytes, () => Infinity);
}

/** Settings with which the run would fit, as they are set on the command line. */
async function findRemedies(config: RunConfig, lengths: PromptLengths, budget: number): Promise<string[]> {
  const shorter = { max_completion_length: Math.ceil(config.max_completion_length / 2) };
  const found: string[] = [];
  for (const remedy of REMEDIES) {
    for (const change of [remedy, { ...remedy, ...shorter }]) {
      const bytes = await bytesWith({ ...config, ...change }, lengths);
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

/**
 * Plans the run's memory and chooses how many completions are trained on at a time.
 * @throws RangeError, naming settings that would fit, when it takes more than there is
 */
export async function planRun(config: RunConfig, lengths: PromptLengths): Promise<PlannedMemory> {
  const { info } = await openGpu();
  const budget = await memoryBudget(config, info);
  const shape = batchShape(config, singleProcess.size);
  const limit = budget?.bytes ?? Infinity;
  const plan = await fittingPlan(runModels(config, lengths), config, shape, limit);
  if (plan.peakBytes <= limit) return { plan, budget };
  const remedies = await findRemedies(config, lengths, limit);
  const largest = [...plan.parts].sort((a, b) => b.bytes - a.bytes).slice(0, 3)
    .map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  throw new RangeError(
    `The run needs ${
      formatBytes(plan.peakBytes)
    } of GPU memory even with one completion at a time (${largest}), and ` +
      `there are ${formatBytes(limit)} (${budget!.source}); ` +
      (remedies.length > 0
        ? `it fits with ${remedies.join(", or ")}`
        : "take a smaller model, or a GPU with more memory, or set gpu_memory_gib if there is more"),
  );
}

/** The plan in two lines: "planned 1.2 GiB of 22 GiB", and by part. */
export function memoryLines({ plan, budget }: PlannedMemory, perDeviceBatchSize: number): [string, string] {
  const of = budget ? ` of ${formatBytes(budget.bytes)} (${budget.source})` : "";
  const split = plan.rowsPerPass === perDeviceBatchSize
    ? ""
    : `, with ${plan.rowsPerPass} of ${perDeviceBatchSize} completions trained on at a time`;
  const parts = plan.parts.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  return [`planned ${formatBytes(plan.peakBytes)}${of}${split}`, parts];
}
