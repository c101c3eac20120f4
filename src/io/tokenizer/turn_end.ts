// The token with which a chat template closes an answer. Pure.

import type { Message } from "../../rl/conversation.ts";
import type { ChatTemplate, TemplateVariables } from "./chat_template.ts";
import type { AddedToken } from "./json.ts";

/** An answer that no template says itself. */
const ANSWER = "an answer of 7 words, no more";

const CONVERSATION: readonly Message[] = [
  { role: "user", content: "a question" },
  { role: "assistant", content: ANSWER },
];

/**
 * The added token that the template writes right behind an answer; undefined where it writes none, or cannot be
 * followed for such a conversation.
 */
export function turnEndOf(
  template: ChatTemplate,
  addedTokens: readonly AddedToken[],
  variables: TemplateVariables,
): AddedToken | undefined {
  let text: string;
  try {
    text = template.render(CONVERSATION, variables);
  } catch {
    return undefined; // whoever asks it for a prompt is told why
  }
  const at = text.lastIndexOf(ANSWER);
  if (at < 0) return undefined;
  const behind = text.slice(at + ANSWER.length).trimStart();
  return addedTokens.filter(({ content }) => content !== "" && behind.startsWith(content))
    .sort((a, b) => b.content.length - a.content.length)[0];
}
