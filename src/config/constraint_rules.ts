/** Rules between `costs`, `rewards` and the other keys. */
import { constraintsOf } from "./constraints.ts";
import { parseFunctionName } from "./function_names.ts";
import type { Rule } from "./rule.ts";
import { type Config, type ConfigKey, OWN_LAMBDA_KEYS } from "./schema.ts";

/** Whether reward and cost models are served in the run's own process. */
const servesModels = ({ scorer_url, reward_functions, cost_functions }: Config) =>
  scorer_url === null && reward_functions.length + cost_functions.length === 0;

export const CONSTRAINT_RULES: readonly Rule[] = [
  {
    keys: ["costs", "scorer_url", "reward_functions", "cost_functions"],
    check(config) {
      const own = config.costs?.find(({ model, label }) => model !== undefined || label !== undefined);
      return own === undefined || servesModels(config)
        ? null
        : `costs: ${own.name} names its score model, and none is served in this process while scorer_url or ` +
          "functions are set; remove model and label there, or remove these";
    },
  },
  {
    keys: ["costs", "lambda_rule"],
    check(config) {
      const found = config.costs &&
        constraintsOf(config).find(({ settings }) => settings.lambda_rule === "one_shot");
      return found
        ? `costs, ${found.name}: lambda_rule one_shot solves for the lambda of one cost alone; set another, or leave ` +
          "costs out"
        : null;
    },
  },
  ...([["rewards", "reward_functions"], ["costs", "cost_functions"]] as const).map((
    [key, functions],
  ): Rule => ({
    keys: [key, functions],
    check(config) {
      const weighted = config[functions].find((text) => (parseFunctionName(text)?.weight ?? 1) !== 1);
      return config[key] === null || weighted === undefined
        ? null
        : `${functions}: "${weighted}" has a weight, and with ${key} set ${
          key === "costs" ? "lambda weighs each cost" : "weights stand there"
        }; remove it`;
    },
  })),
  {
    keys: ["advantage_composition", "scale_rewards"],
    check: ({ advantage_composition, scale_rewards }) =>
      advantage_composition !== "gdpo" || scale_rewards === "group"
        ? null
        : `advantage_composition "gdpo" standardizes in the group, then over the batch, got scale_rewards ` +
          `"${scale_rewards}"; set scale_rewards to "group"`,
  },
];

const isOwn = (key: ConfigKey) => (OWN_LAMBDA_KEYS as readonly ConfigKey[]).includes(key);

/** The rules between keys that an entry of `costs` may set, for each entry. */
export function rulesOfEachCost(rules: readonly Rule[]): Rule[] {
  return rules.filter(({ keys }) => keys.every(isOwn)).map(({ keys, check }) => ({
    keys: ["costs", ...keys],
    check(config, worldSize) {
      if (config.costs === null) return null;
      for (const { name, settings } of constraintsOf(config)) {
        const problem = check(settings, worldSize);
        if (problem !== null) return `costs, ${name}: ${problem}`;
      }
      return null;
    },
  }));
}
