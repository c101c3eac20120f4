/** The contract of protocol.ts, which `npm run scorer` and services of Beaver's models speak. */
import { type Answer, assertFiniteNumbers, assertHealth, assertScoreLists } from "../protocol.ts";
import { type Asking, type ScorerApi, scoresOf } from "./api.ts";

/** The columns of all rows by name, null where a row has none of that name. */
function columnsOf(answers: readonly Answer[]): Record<string, unknown[]> {
  const names = new Set(answers.flatMap(({ columns }) => Object.keys(columns)));
  return Object.fromEntries(
    [...names].map((name) => [name, answers.map(({ columns }) => columns[name] ?? null)]),
  );
}

function bodyOf(answers: readonly Answer[], { wants }: Asking) {
  return {
    prompts: answers.map(({ prompt }) => prompt),
    responses: answers.map(({ completion }) => completion),
    ...(wants.includes("messages") && { messages: answers.map(({ messages }) => messages) }),
    ...(wants.includes("columns") && { columns: columnsOf(answers) }),
  };
}

export const BEAVER: ScorerApi = {
  health: { path: "/health", isJson: true, read: assertHealth },
  requests: (answers, asking) => [{
    path: "/score_batch",
    body: bodyOf(answers, asking),
    read(json) {
      const lists = assertScoreLists(json);
      return scoresOf(asking.kinds, (kind) => assertFiniteNumbers(kind, lists[kind], answers.length));
    },
  }],
};
