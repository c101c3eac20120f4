/** Prompts that are not those of the file, the template or the data set. */
import type { Fault } from "../fault.ts";

const fault = (file: string, find: string, replace: string, harm: string, test: string): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm,
  tests: [test],
});

const TEMPLATE = "unit/chat_template.test.ts";
const FILES = "unit/prompt_files.test.ts";
const DATASETS = "chaos/hub_datasets.test.ts";

export const faults: readonly Fault[] = [
  fault(
    "io/tokenizer/python_strings.ts",
    'typeof characters === "string" ? characters : SPACES',
    "SPACES",
    "lstrip('\\n') of a template strips spaces too, as in @huggingface/jinja itself",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/chat_template.ts",
    "  callOurMethods(program);\n",
    "",
    "templates strip as JavaScript does: a byte order mark of a message is lost",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/chat_template.ts",
    "add_generation_prompt: true",
    "add_generation_prompt: false",
    "the policy goes on with the user's turn",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/chat_template.ts",
    'if (test?.value !== "undefined") return;',
    "if (test) return;",
    "Mistral's template takes conversations whose roles do not alternate",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/chat_template_files.ts",
    "if (jinja !== null) return",
    "if (jinja !== undefined && !config.chat_template) return",
    "another template counts than in transformers where a folder holds two",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/marked_chat.ts",
    "`${begin}$&${end}`",
    '"$&"',
    "a user ends his own turn, and begins the assistant's, by writing control tokens",
    TEMPLATE,
  ),
  fault(
    "io/tokenizer/marked_chat.ts",
    "return newline.every((id, i) => ids[i] === id) ? ids.slice(newline.length) : encode(text);",
    "return encode(text);",
    "a space stands before what follows a control token that a message wrote out",
    "parity/parity.test.ts#Tokenizer and template",
  ),
  fault(
    "io/tokenizer/marked_chat.ts",
    "if (!texts.some((text) => text.includes(mark))) found.push(mark);",
    "found.push(mark);",
    "private-use characters of a message vanish from its prompt",
    TEMPLATE,
  ),
  fault(
    "io/prompts/prompt_cut.ts",
    "const beginning = tooLongBeginning(userText, fit);",
    "const beginning = null as string | null;",
    "a text of a million characters is tokenized whole a dozen times",
    TEMPLATE,
  ),
  fault(
    "io/prompts/prompt_format.ts",
    'systemPrompt !== null && messages[0].role !== "system"',
    "systemPrompt !== null",
    "system_prompt hides a conversation's own",
    TEMPLATE,
  ),
  fault(
    "io/prompts/prompt_format.ts",
    "messages: truncated ? withLast(kept) : asked",
    "messages: asked",
    "a scorer is told more of a conversation than the policy saw",
    TEMPLATE,
  ),
  fault(
    "io/prompts/prompt_format.ts",
    "[...frontIds, ...encodeRendered(text)]",
    "[...encodeRendered(text)]",
    "without a template prompts lack their BOS",
    TEMPLATE,
  ),
  fault(
    "rl/conversation.ts",
    'setting ?? (layout === "beaver" ? [BEAVER_USER] : [])',
    "setting ?? [BEAVER_USER]",
    "a chat model's answers are cut where they write USER:",
    "e2e/stop_strings.test.ts",
  ),
  fault(
    "io/prompts/json_rows.ts",
    "if (isEscaped) isEscaped = false;",
    "if (isEscaped) inString = isEscaped = false;",
    "an array with an escaped quote is torn apart",
    FILES,
  ),
  fault(
    "io/prompts/json_rows.ts",
    "    let start = 0; // of the row's part in this piece\n",
    "    let start = -1; // of the row's part in this piece\n",
    "a row of an array loses what stands before the end of a piece of the file",
    FILES,
  ),
  fault(
    "io/prompts/parquet_rows.ts",
    "    first = end;\n",
    "",
    "of every row group but the first other rows are read",
    FILES,
  ),
  fault(
    "io/prompts/prompts.ts",
    "for (const path of paths) {",
    "for (const path of paths.slice(0, 1)) {",
    "only the first file of a data set is read",
    FILES,
  ),
  fault(
    "io/prompts/row_files.ts",
    "if (isLfsPointer(head)) {",
    "if (false) {",
    "a Git LFS pointer is taken for broken JSON",
    "unit/prompts.test.ts",
  ),
  fault(
    "io/hub/dataset_files.ts",
    "if (total !== undefined && there !== Number(total)) {",
    "if (total === undefined) {",
    "a run trains on the shards that happen to be in the cache",
    "unit/hub_datasets.test.ts",
  ),
  fault(
    "assembly/prompt_sets.ts",
    "return [...new Set(texts)];",
    "return texts;",
    "a prompt set holds the same prompt twice",
    DATASETS,
  ),
  fault(
    "assembly/prompt_sets.ts",
    ".filter((prompt) => !taken.has(prompt))",
    "",
    "a policy is evaluated on prompts that it was trained on",
    DATASETS,
  ),
];
