/**
 * OpenRLHF's remote reward models (its --remote_rm_url, serve_rm): POST {"query", "prompts", "labels"} ->
 * {"rewards"}, one for each. A query is prompt and completion as the policy read and wrote them, control tokens
 * included. A service that also answers "costs" gives both scores.
 */
import { show } from "../messages.ts";
import { assertFiniteNumbers } from "../protocol.ts";
import { type ScorerApi, scoresOf, WrongSetting } from "./api.ts";

/** Of OpenRLHF's own server; an address that has a path keeps its own. */
const PATH = "/get_reward";

export const OPENRLHF: ScorerApi = {
  health: null,
  request: (answers, { kinds, labelKey }, url) => ({
    path: new URL(url).pathname === "/" ? PATH : "",
    body: {
      query: answers.map(({ fullText }) => fullText),
      prompts: answers.map(({ promptText }) => promptText),
      // Where its data has no labels, OpenRLHF sends empty texts.
      labels: answers.map(({ columns }) => (labelKey === null ? null : columns[labelKey]) ?? ""),
    },
    read(json) {
      if (typeof json !== "object" || json === null) {
        throw new TypeError(`the answer is ${show(json)}; need {"rewards": [...]}`);
      }
      const { rewards, costs } = json as Record<string, unknown>;
      return scoresOf(kinds, (kind) => {
        // A service of costs alone calls them what every such service calls its numbers.
        if (kind === "rewards" || kinds.length === 1) {
          return assertFiniteNumbers("rewards", rewards, answers.length);
        }
        if (costs !== undefined) return assertFiniteNumbers("costs", costs, answers.length);
        throw new WrongSetting('"costs" is missing', "set cost_scorer_url to the service that gives them");
      });
    },
  }),
};
