/** A run's models by their shapes alone, as a rehearsal runs them. */
import type { RunConfig } from "../config/sweep.ts";
import { openModelFolder } from "../io/model/model_folder.ts";
import { makeTrunk } from "../policy/llama.ts";
import type { Policy } from "../policy/trunk.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import { passLimitBytes } from "../policy/pass_replays.ts";
import { loadScoreModel, scoreSequences } from "../policy/score_model.ts";
import { loadPolicyWeights } from "../policy/weights.ts";
import { emptySource, type WeightSource } from "../policy/weight_source.ts";
import type { PlannedScorer } from "../train/memory_plan.ts";
import { adapterSettings, makeAdapters } from "./adapters.ts";
import type { LoadingEvents } from "./events.ts";
import { resolveModel } from "./hub.ts";
import { withModel } from "./models.ts";
import { type NamedScoreModel, scoreModelOf } from "./score_models.ts";

interface ShapesOfModel {
  configText: string;
  configPath: string;
  /** Shapes without values. */
  source: WeightSource;
}

async function withShapes<R>(dir: string, use: (model: ShapesOfModel) => Promise<R>): Promise<R> {
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
): Promise<Policy> {
  const settings = adapterSettings(config);
  const weights = await loadPolicyWeights(source, model, settings ? "frozen" : config.dtype);
  return { ...makeTrunk(model, weights), adapters: await makeAdapters(weights, null, settings, model) };
}

/** The same, of the model that the run names. */
export function emptyPolicyOf(config: RunConfig, events: LoadingEvents): Promise<Policy> {
  const load = ({ configText, configPath, source }: ShapesOfModel) =>
    emptyPolicy(source, parseModelConfig(configText, configPath), config);
  return withModel(config.model_name, ({ base }) => withShapes(base.dir, load), events);
}

/** The score models that a run serves itself. */
export async function emptyScorer(config: RunConfig, events: LoadingEvents): Promise<PlannedScorer> {
  const load = async (wanted: NamedScoreModel) =>
    await withShapes((await resolveModel(wanted.name, events)).dir, async (folder) => {
      const { config, label } = scoreModelOf(folder, wanted);
      const model = await loadScoreModel(folder.source, config, { label });
      return { ...model, padId: null }; // texts made up here are read whole, whatever their tokens
    });
  const models = [
    await load({ type: "reward", name: config.reward_model, label: config.reward_label }),
    await load({ type: "cost", name: config.cost_model, label: config.cost_label }),
  ];
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
