/** A training run without files: a learner of a named shape with random weights, and prompts of random tokens. */
import { batchShape } from "../src/config/batch.ts";
import { defaultConfig } from "../src/config/schema.ts";
import type { RunConfig } from "../src/config/sweep.ts";
import { emptyPolicy } from "../src/assembly/empty_models.ts";
import type { TunedLayers } from "../src/assembly/kernel_tuning.ts";
import { memoryBudget } from "../src/assembly/memory.ts";
import { formatBytes } from "../src/config/units.ts";
import type { Gpu } from "../src/gpu/device.ts";
import type { WeightFormat } from "../src/ops/weight/weight.ts";
import { disposePolicyWeights, trainableWeights } from "../src/policy/adapters.ts";
import { disposeTrunk } from "../src/policy/transformer.ts";
import { parseModelConfig } from "../src/policy/model_config.ts";
import { emptySource } from "../src/policy/weight_source.ts";
import { listWeights } from "../src/policy/weights.ts";
import { disposeLearner, type Learner, makeLearner } from "../src/train/learner.ts";
import { fittingPlan, type MemoryPlan, type RunModels } from "../src/train/memory_plan.ts";
import type { TrainedRollout } from "../src/train/prepared_update.ts";
import { randomInts } from "../test/cases/case.ts";
import { llamaConfig, type LlamaShape, llamaShapes } from "./random_llama.ts";
import { randomSource } from "./random_source.ts";
import type { NamedShape } from "./shapes.ts";

export interface Job {
  named: NamedShape;
  config: RunConfig;
  learner: Learner;
  prompts: Int32Array[];
  /** As long as completions may be: random weights end none. */
  rollouts: TrainedRollout[];
  plan: MemoryPlan;
  dispose(): void;
}

/** Frozen weights are stored in 16 bits, trained ones in f32. */
const formatOf = (config: RunConfig) => config.use_peft ? "bf16" : "f32";

function configOf({ settings }: NamedShape): RunConfig {
  return { ...defaultConfig(), lora_target_modules: "all-linear", beta: 0.02, eval_jsonl: null, ...settings };
}

const modelConfig = (shape: LlamaShape) => parseModelConfig(llamaConfig(shape), "random weights");

export interface PlannedModel {
  shape: LlamaShape;
  /** Of its matrices, as stored. */
  format: WeightFormat;
  /** Tokens of each prompt. */
  promptTokens: number;
  /** Prompts of an evaluation. */
  evalPrompts: number;
}

/** What a memory plan needs of a run: a policy without values, scored elsewhere. */
export function plannedModels(
  { shape, format, promptTokens, evalPrompts }: PlannedModel,
  config: RunConfig,
): RunModels {
  const shapes = new Map(llamaShapes(shape));
  const source = emptySource(
    (name) => shapes.get(name),
    (name) => shapes.get(name)!.length === 2 ? format : "f32",
  );
  return {
    makePolicy: () => emptyPolicy(source, modelConfig(shape), config),
    makeLearner,
    makeScorer: null,
    longestPrompt: promptTokens,
    longestEvalPrompt: promptTokens,
    evalPrompts,
  };
}

/** What a run of this job would measure kernels for. */
export function layersOfJob({ learner: { policy }, named, config, plan }: Job): TunedLayers {
  return {
    weights: [...listWeights(policy.weights), ...trainableWeights(policy)],
    mostRows: plan.rowsPerPass * (named.promptTokens + config.max_completion_length),
  };
}

/**
 * Plans the memory of a step of this shape, and makes what it trains.
 * @throws RangeError when it does not fit the device; with the plan's figures
 */
export async function openJob(named: NamedShape, { info }: Gpu): Promise<Job> {
  const { shape, promptTokens } = named;
  const config = configOf(named);
  const batch = batchShape(config);
  const budget = await memoryBudget(config, info);
  const models = plannedModels({ shape, format: formatOf(config), promptTokens, evalPrompts: 0 }, config);
  const plan = await fittingPlan(models, config, batch, {
    budgetBytes: budget?.bytes ?? Infinity,
    isSoftware: info.isSoftware,
  });
  if (budget && plan.peakBytes > budget.bytes) {
    throw new RangeError(
      `A step of this shape needs ${
        formatBytes(plan.peakBytes)
      } of GPU memory with one completion at a time, and ` +
        `there are ${formatBytes(budget.bytes)} (${budget.source}); take a smaller shape or a larger GPU`,
    );
  }
  const policy = await emptyPolicy(randomSource(shape, formatOf(config)), modelConfig(shape), config);
  const learner = makeLearner(policy, config, plan);
  const prompts = Array.from(
    { length: batch.promptsPerGeneration },
    (_, p) => randomInts(100 + p, promptTokens, shape.vocab),
  );
  const rollouts = Array.from({ length: batch.completionsPerGeneration }, (_, i): TrainedRollout => ({
    prompt: { ids: Array.from(prompts[Math.floor(i / config.num_generations)]) },
    tokens: Array.from(randomInts(1000 + i, config.max_completion_length, shape.vocab)),
    logprobs: null,
    end: "length",
  }));
  const dispose = () => {
    disposeLearner(learner);
    disposePolicyWeights(policy);
    disposeTrunk(policy);
  };
  return { named, config, learner, prompts, rollouts, plan, dispose };
}
