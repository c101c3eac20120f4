/** Who judges a run's completions: score models in this process, a service, functions, or a scorer that is given. */
import { resolve } from "node:path";
import { constraintsOf } from "../config/constraints.ts";
import { type FunctionName, parseFunctionName } from "../config/function_names.ts";
import type { Config } from "../config/schema.ts";
import type { RunConfig } from "../config/sweep.ts";
import { importModule } from "../io/files/user_module.ts";
import { functionScorer, type ScoreFunction } from "../scorer/functions.ts";
import type { Scorer } from "../scorer/protocol.ts";

export type JudgesConfig = Pick<RunConfig, "scorer_url" | "reward_functions" | "cost_functions">;

/** Whether the run loads and serves reward_model and cost_model. @param given a scorer from outside */
export function servesScoreModels(
  { scorer_url, reward_functions, cost_functions }: JudgesConfig,
  given?: Scorer,
): boolean {
  return scorer_url === null && !given && reward_functions.length + cost_functions.length === 0;
}

/** Who judges, in words. */
export function judgesText(config: Omit<RunConfig, "beta">): string {
  if (servesScoreModels(config)) {
    return `${config.reward_model} and ${costModelsText(config)}, in this process`;
  }
  const { scorer_url, cost_scorer_url, reward_functions, cost_functions } = config;
  return [scorer_url, cost_scorer_url, ...reward_functions, ...cost_functions]
    .filter((judge) => judge !== null).join(", ");
}

/** Models of the costs that the settings name, where the run serves them. */
export interface NamedCostModel {
  /** Of the cost; null where there is one. */
  name: string | null;
  model: string;
  label: Config["cost_label"];
}

/**
 * What gives each cost, where score models do.
 * @throws RangeError when two costs are the same score
 */
export function costModelsOf(config: Omit<Config, "beta">): NamedCostModel[] {
  const met = new Map<string, string | null>();
  return constraintsOf(config).map(({ name, model, label }) => {
    const score = JSON.stringify([model, label]);
    if (met.has(score)) {
      throw new RangeError(
        `costs: ${
          met.get(score)
        } and ${name} are both the score of ${model}; give one of them a model of its own`,
      );
    }
    met.set(score, name);
    return { name, model, label };
  });
}

/** The cost models that the settings name, those with a name of their own under it. */
export const costModelsText = (config: Omit<RunConfig, "beta">): string =>
  constraintsOf(config).map(({ name, model }) => name === null ? model : `${model} (${name})`).join(", ");

/**
 * The scorer of reward_functions and cost_functions; undefined where there are none.
 * @throws Error when a module cannot be loaded
 * @throws TypeError when it does not export the function
 */
export async function openFunctionScorer(config: JudgesConfig): Promise<Scorer | undefined> {
  const load = (list: readonly string[], key: string) =>
    Promise.all(list.map((text) => loadFunction(parseFunctionName(text)!, key)));
  const rewards = await load(config.reward_functions, "reward_functions");
  const costs = await load(config.cost_functions, "cost_functions");
  return rewards.length + costs.length === 0 ? undefined : functionScorer({ rewards, costs });
}

async function loadFunction(
  { path, exportName, name, weight }: FunctionName,
  key: string,
): Promise<ScoreFunction> {
  const file = resolve(path);
  const module: Record<string, unknown> = await importModule(file).catch((cause: Error) => {
    throw new Error(
      `Cannot load ${file} of ${key}: need a TypeScript or JavaScript module that runs, got: ${cause.message}`,
      { cause },
    );
  });
  const score = module[exportName];
  if (typeof score === "function") return { name, weight, score: score as ScoreFunction["score"] };
  throw new TypeError(
    `${key}: ${file} must export a function "${exportName}"; it exports ${
      Object.keys(module).join(", ") || "nothing"
    }`,
  );
}
