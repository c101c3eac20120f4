/** Answers as a scorer is asked to judge them, of prompts and completions alone. */
import type { Answer } from "../src/scorer/protocol.ts";

export const answers = (prompts: readonly string[], completions: readonly string[]): Answer[] =>
  prompts.map((prompt, i) => ({
    prompt,
    completion: completions[i],
    messages: [{ role: "user", content: prompt }],
    tokens: [],
    columns: {},
    promptText: `<s>${prompt}`,
    fullText: `<s>${prompt}${completions[i]}</s>`,
  }));
