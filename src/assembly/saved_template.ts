/** The chat template that a run's model is saved with: transformers' apply_chat_template is to make its prompts. */
import type { RunConfig } from "../config/sweep.ts";
import { readNamedTemplate } from "../io/tokenizer/chat_template_files.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { formatPrompt, PROMPT_PREFIX, PROMPT_SUFFIX } from "../rl/conversation.ts";

const ONE_TURN = "{% if messages | length != 1 or messages[0]['role'] != 'user' %}" +
  "{{ raise_exception('This model was trained on one user message and no other') }}{% endif %}";
const REFUSAL = "{{ raise_exception('This model was trained without the chat template of its base model') }}";
/** Where tokenizers differ: a space in front, double ones, a line's end, letters that are split into bytes. */
const SAMPLES = ["a", " two  words\n", "héllo 日本 🙂"];

/** A layout without a template of its own, as one. */
interface FixedLayout {
  prefix: string;
  suffix: string;
  /** The ids that training made of a user's text. */
  idsOf(tokenizer: Tokenizer, user: string): readonly number[];
}

const LAYOUTS: Readonly<Record<"beaver" | "none", FixedLayout>> = {
  beaver: {
    prefix: PROMPT_PREFIX,
    suffix: PROMPT_SUFFIX,
    idsOf: (tokenizer, user) => tokenizer.encodePrompt(user, formatPrompt, Number.MAX_SAFE_INTEGER).ids,
  },
  none: {
    prefix: "",
    suffix: "",
    idsOf: ({ frontIds, encodeRendered }, user) => [...frontIds, ...encodeRendered(user)],
  },
};

/**
 * The layout as a template: the tokens in front are written out, as templates are encoded without them. Behind these
 * some tokenizers put no space before a text that they would begin with one: then the template does. Where neither
 * gives the ids of training, it refuses.
 */
function templateOf({ prefix, suffix, idsOf }: FixedLayout, tokenizer: Tokenizer): string {
  const front = tokenizer.frontIds.map((id) =>
    tokenizer.addedTokens.find((token) => token.id === id)?.content ?? ""
  )
    .join("");
  const isExact = (begin: string) =>
    SAMPLES.every((user) => {
      const ids = tokenizer.encodeRendered(begin + user + suffix);
      const wanted = idsOf(tokenizer, user);
      return ids.length === wanted.length && ids.every((id, i) => id === wanted[i]);
    });
  const begin = ["", " "].map((space) => front + space + prefix).find(isExact);
  if (begin === undefined) return REFUSAL;
  const answer = suffix === ""
    ? ""
    : `{% if add_generation_prompt %}{{ ${JSON.stringify(suffix)} }}{% endif %}`;
  return `${ONE_TURN}{{ ${JSON.stringify(begin)} + messages[0]['content'] }}${answer}`;
}

/**
 * What chat_template.jinja must hold beside the saved model; null where the tokenizer's own files say it: its template
 * is the one that was trained with, or it has none and neither had training.
 * @throws Error when the template's file cannot be read
 */
export async function savedTemplate(
  tokenizer: Tokenizer,
  { chat_template: setting }: Pick<RunConfig, "chat_template">,
): Promise<string | null> {
  // A template that cannot be read concerns those alone who train with it.
  const own = await tokenizer.readChatTemplate().then((found) => found?.text ?? null, () => "");
  const named = await readNamedTemplate(setting);
  if (named) return named.text === own ? null : named.text;
  const isFixed = setting === "beaver" || setting === "none";
  return isFixed && own !== null ? templateOf(LAYOUTS[setting], tokenizer) : null;
}
