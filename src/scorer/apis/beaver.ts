/** The contract of protocol.ts, which `npm run scorer` and services of Beaver's models speak. */
import { formatConversation } from "../../rl/conversation.ts";
import { type Answer, assertHealth, assertScoreLists, assertScoresOfKind } from "../protocol.ts";
import { type Asking, namedLists, type ReadScores, type ScorerApi, scoresOf } from "./api.ts";

/** The columns of all rows by name, null where a row has none of that name. */
function columnsOf(answers: readonly Answer[]): Record<string, unknown[]> {
  const names = new Set(answers.flatMap(({ columns }) => Object.keys(columns)));
  return Object.fromEntries(
    [...names].map((name) => [name, answers.map(({ columns }) => columns[name] ?? null)]),
  );
}

/** Conversations as services of Beaver's models make them of prompt and response. */
const textsOf = (answers: readonly Answer[]) => ({
  texts: answers.map(({ prompt, completion }) => formatConversation(prompt, completion)),
});

function bodyOf(answers: readonly Answer[], { wants }: Asking) {
  return {
    prompts: answers.map(({ prompt }) => prompt),
    responses: answers.map(({ completion }) => completion),
    ...(wants.includes("messages") && { messages: answers.map(({ messages }) => messages) }),
    ...(wants.includes("columns") && { columns: columnsOf(answers) }),
  };
}

/** Which conversations the service cut at its limit, where it says so of each. */
function cutOf(truncated: unknown, count: number): Pick<ReadScores, "cut"> {
  const isSaid = Array.isArray(truncated) && truncated.length === count &&
    truncated.every((one) => typeof one === "boolean");
  return isSaid ? { cut: truncated } : {};
}

export const BEAVER: ScorerApi = {
  health: { path: "/health", isJson: true, read: assertHealth },
  request: (answers, asking) => ({
    path: `/${asking.route}`,
    body: asking.route === "score_texts" ? textsOf(answers) : bodyOf(answers, asking),
    read(json) {
      const lists = assertScoreLists(json);
      const count = answers.length;
      const named: Record<string, number[]> = {};
      const scores = scoresOf(asking.kinds, (kind) => {
        const { values, byName } = assertScoresOfKind(kind, lists[kind], count);
        Object.assign(named, namedLists(kind, byName, asking));
        return values;
      });
      const hasNames = Object.keys(named).length > 0;
      return { ...scores, ...(hasNames && { named }), ...cutOf(lists.truncated, count) };
    },
  }),
};
