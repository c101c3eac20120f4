/** Rules between the keys of the scorer. */
import type { Rule } from "./rule.ts";
import { CLASSIFIER_APIS, SCORER_INPUTS, type ScorerInput } from "./scorer_apis.ts";

export const SCORER_RULES: readonly Rule[] = [
  {
    keys: ["cost_scorer_url", "scorer_url"],
    check: ({ cost_scorer_url, scorer_url }) =>
      cost_scorer_url === null || scorer_url !== null
        ? null
        : "cost_scorer_url needs scorer_url, the service that gives the rewards, got null; set it",
  },
  {
    keys: ["scorer_api", "scorer_url"],
    check: ({ scorer_api, scorer_url }) =>
      scorer_api === "beaver" || scorer_url !== null
        ? null
        : `scorer_api "${scorer_api}" needs scorer_url, got null: reward_model and cost_model are served in this ` +
          "process; set scorer_url, or remove scorer_api",
  },
  {
    keys: ["scorer_input", "scorer_api"],
    check: ({ scorer_input, scorer_api }) => {
      const inputs: readonly ScorerInput[] = SCORER_INPUTS[scorer_api];
      return inputs.includes(scorer_input)
        ? null
        : `scorer_input must be ${
          inputs.map((input) => `"${input}"`).join(" or ")
        } with scorer_api "${scorer_api}", ` +
          `got "${scorer_input}"; change one of the two`;
    },
  },
  {
    keys: ["scorer_label_key", "scorer_api"],
    check: ({ scorer_label_key, scorer_api }) =>
      scorer_label_key === null || scorer_api === "openrlhf"
        ? null
        : `scorer_label_key needs scorer_api "openrlhf", got "${scorer_api}", which takes no labels; remove it`,
  },
  {
    keys: ["cost_label", "cost_scorer_url", "scorer_api"],
    check: ({ cost_label, cost_scorer_url, scorer_api }) =>
      !CLASSIFIER_APIS.includes(scorer_api) || cost_label !== null || cost_scorer_url !== null
        ? null
        : `cost_label must be a label with scorer_api "${scorer_api}" and one service, got null: its only score ` +
          "would be reward and cost; set cost_label, or cost_scorer_url",
  },
  ...(["reward_label", "cost_label"] as const).map((key): Rule => ({
    keys: [key, "scorer_url", "scorer_api"],
    check: (config) =>
      config[key] === null || config.scorer_url === null || CLASSIFIER_APIS.includes(config.scorer_api)
        ? null
        : `${key} needs a classifier, got scorer_api "${config.scorer_api}", which gives no scores of labels; ` +
          "remove it",
  })),
];
