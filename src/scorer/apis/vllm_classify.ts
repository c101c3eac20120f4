/**
 * vLLM's /classify: POST {"input": [...]} -> {"data": [{"index", "label", "probs", "num_classes"}, ...]}. With
 * use_activation false "probs" are the model's logits. A conversation by its messages, to which vLLM applies the
 * model's own template, takes a request of its own.
 */
import { show } from "../messages.ts";
import type { Answer } from "../protocol.ts";
import { type Asking, placeOfLabel, type ScorerApi, type ScoreRequest, scoresOf, wrongLabel } from "./api.ts";
import { healthWithoutWords } from "./silent_health.ts";

const PATH = "/classify";
/** As many tokens as the model takes: a long text is cut, as the service would refuse it. */
const OPTIONS = { use_activation: false, truncate_prompt_tokens: -1 };

function logitsOf(row: unknown, i: number): number[] {
  const { probs } = (row ?? {}) as Record<string, unknown>;
  if (Array.isArray(probs) && probs.length > 0 && probs.every((value) => Number.isFinite(value))) {
    return probs;
  }
  throw new TypeError(`"data"[${i}].probs is ${show(probs)}; need a list of finite numbers`);
}

/** @throws TypeError when there are not as many lists of numbers in the answer */
function rowsOf(json: unknown, count: number): number[][] {
  const { data } = (json ?? {}) as Record<string, unknown>;
  if (!Array.isArray(data)) throw new TypeError(`"data" is ${show(data)}; need a list`);
  if (data.length !== count) {
    throw new TypeError(`"data" has ${data.length} entries; need one for each of ${count} texts`);
  }
  const places = data.map((row, i) => (row as { index?: unknown } | null)?.index ?? i);
  if (places.some((place, i) => place !== i)) {
    throw new TypeError(`"data" has the indices ${show(places)}; need 0 to ${count - 1} in order`);
  }
  return Array.from(data, logitsOf);
}

function requestOf(body: object, count: number, { kinds, labels }: Asking): ScoreRequest {
  return {
    path: PATH,
    body: { ...body, ...OPTIONS },
    read(json) {
      const rows = rowsOf(json, count);
      return scoresOf(kinds, (kind) => {
        const label = labels[kind];
        const last = rows[0].length - 1;
        // It says by name only which label has the highest score.
        if (typeof label === "string") {
          throw wrongLabel(kind, label, rows[0].length, `0 to ${last} (vLLM has no names)`);
        }
        return rows.map((row) => row[placeOfLabel(kind, label, row.length)]);
      });
    },
  };
}

const withCompletion = (
  { messages, completion }: Answer,
) => [...messages, { role: "assistant", content: completion }];

export const VLLM_CLASSIFY: ScorerApi = {
  health: healthWithoutWords("vLLM"),
  isOneByOne: ({ input }) => input === "messages",
  request(answers, asking) {
    if (asking.input === "messages") return requestOf({ messages: withCompletion(answers[0]) }, 1, asking);
    const body = asking.input === "query"
      // It begins with the control tokens that the policy saw: the service must not add them again.
      ? { input: answers.map(({ fullText }) => fullText), add_special_tokens: false }
      : { input: answers.map(({ completion }) => completion) };
    return requestOf(body, answers.length, asking);
  },
};
