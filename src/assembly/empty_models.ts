/** A run's models by their shapes alone, as a rehearsal runs them. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { describeModel } from "../io/model/config_text.ts";
import { openModelFolder, readConfig } from "../io/model/model_folder.ts";
import { hasWeights } from "../io/model/model_weights.ts";
import type { WeightFormat } from "../ops/weight/weight.ts";
import { makeTrunk } from "../policy/transformer.ts";
import type { Policy } from "../policy/trunk.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import { passLimitBytes } from "../policy/pass_replays.ts";
import { CLASSIFIER_HEAD } from "../policy/score_config.ts";
import { loadScoreModel, scoreSequences } from "../policy/score_model.ts";
import { loadPolicyWeights, parameterShapes } from "../policy/weights.ts";
import { emptySource, type WeightSource } from "../policy/weight_source.ts";
import type { PlannedScorer } from "../train/memory_plan.ts";
import { adapterSettings, makeAdapters } from "./adapters.ts";
import type { LoadingEvents } from "./events.ts";
import { resolveModel } from "./hub.ts";
import { costModelsOf } from "./judges.ts";
import { adapterNeedsPeft, holdingOf, withModel } from "./models.ts";
import { type NamedScoreModel, scoreModelOf } from "./score_models.ts";

interface ShapesOfModel {
  configText: string;
  configPath: string;
  /** Shapes without values. */
  source: WeightSource;
}

/** How the shapes of a run's models are found. */
export interface ShapeOptions {
  events: LoadingEvents;
  /** Those that config.json implies, where there are no weights. */
  fromConfig?: boolean;
  /** Tokens of the policy's longest sequence; all that the model has unless given. */
  mostPositions?: number;
}

/** A type that config.json names, as matrices are then stored. */
const FORMATS: Readonly<Record<string, WeightFormat>> = { bfloat16: "bf16", float16: "f16" };

/** Whether it is one of transformers' ...ForSequenceClassification, which have two labels unless they say more. */
const isClassifier = (json: { architectures?: unknown }) =>
  Array.isArray(json.architectures) && String(json.architectures[0]).endsWith("ForSequenceClassification");

/** The shapes that config.json implies, a head of each kind among them. */
async function shapesOfConfig(dir: string): Promise<ShapesOfModel> {
  const configPath = join(dir, "config.json");
  const { text: configText, rules } = describeModel(await readConfig(dir), configPath);
  const model = parseModelConfig(configText, configPath);
  const shapes = parameterShapes(model);
  const json = JSON.parse(configText);
  // safe-rlhf's normalizer, which lies in the weights.
  if (json.do_normalize) ["normalizer.mean", "normalizer.var"].forEach((name) => shapes.set(name, [1]));
  if (isClassifier(json)) {
    shapes.delete(model.layout.scoreHead.weight);
    shapes.set(CLASSIFIER_HEAD.weight, [
      Object.keys(json.id2label ?? { 0: "", 1: "" }).length,
      model.hiddenSize,
    ]);
  }
  const format = rules.areScaled ? "bf16" : FORMATS[json.dtype ?? json.torch_dtype] ?? "f32";
  const formatOf = (name: string): WeightFormat => {
    const shape = shapes.get(name)!;
    return shape.length > 1 && shape[shape.length - 1] % 2 === 0 ? format : "f32";
  };
  return { configText, configPath, source: emptySource((name) => shapes.get(name), formatOf) };
}

async function withShapes<R>(
  dir: string,
  use: (model: ShapesOfModel) => Promise<R>,
  fromConfig = false,
): Promise<R> {
  if (fromConfig && !await hasWeights(dir)) return await use(await shapesOfConfig(dir));
  const folder = await openModelFolder(dir, { accept: parseModelConfig });
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
  mostPositions?: number,
): Promise<Policy> {
  const settings = adapterSettings(config);
  const weights = await loadPolicyWeights(source, model, settings ? "frozen" : holdingOf(config));
  return {
    ...makeTrunk(model, weights, mostPositions),
    adapters: await makeAdapters(weights, null, settings, model),
  };
}

/**
 * The same, of the model that the run names.
 * @throws RangeError when that is an adapter and the run trains whole weights
 */
export function emptyPolicyOf(
  config: RunConfig,
  { events, fromConfig, mostPositions }: ShapeOptions,
): Promise<Policy> {
  const load = ({ configText, configPath, source }: ShapesOfModel) =>
    emptyPolicy(source, parseModelConfig(configText, configPath), config, mostPositions);
  return withModel(config.model_name, ({ base, adapterFolder }) => {
    if (adapterFolder && !config.use_peft) throw adapterNeedsPeft(config.model_name);
    return withShapes(base.dir, load, fromConfig);
  }, events);
}

/** The score models that a run serves itself. */
export async function emptyScorer(
  config: RunConfig,
  { events, fromConfig }: ShapeOptions,
): Promise<PlannedScorer> {
  const load = async (wanted: NamedScoreModel) =>
    await withShapes(
      (await resolveModel(wanted.name, events)).dir,
      async (folder) => {
        const { config: scoreConfig, label } = scoreModelOf(folder, wanted);
        const mostPositions = config.scorer_max_length;
        const model = await loadScoreModel(folder.source, scoreConfig, { label, mostPositions });
        return { ...model, padId: null }; // texts made up here are read whole, whatever their tokens
      },
      fromConfig,
    );
  const models = [
    await load({ type: "reward", name: config.reward_model, label: config.reward_label }),
  ];
  for (const { name: cost, model: name, label } of costModelsOf(config)) {
    models.push(await load({ type: "cost", name, label, cost }));
  }
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
