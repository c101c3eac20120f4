// Where a tokenizer's chat template lies: chat_template.jinja, else tokenizer_config.json, else chat_template.json,
// in the order of transformers 5.

import { join } from "node:path";
import { parsedObject, shortJson } from "../../config/parsed_json.ts";
import { readIfThere } from "../files/presence.ts";
import type { ChatTemplateText } from "./chat_template.ts";

/** Files that hold nothing but chat templates. */
export const CHAT_TEMPLATE_FILES = ["chat_template.jinja", "chat_template.json"] as const;
/** The one that transformers reads first. */
export const JINJA_FILE = CHAT_TEMPLATE_FILES[0];
const JSON_FILE = CHAT_TEMPLATE_FILES[1];

const READ = "read the chat template";

/**
 * The template that a value of "chat_template" stands for: a text, or of several by name the one called "default".
 * @throws Error when it is neither, or none is called so
 */
function templateOf(value: unknown, source: string): ChatTemplateText | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "string") return { text: value, source };
  const named: [unknown, unknown][] = Array.isArray(value)
    ? value.map((entry) => [entry?.name, entry?.template])
    : Object.entries(value as object);
  const [, text] = named.find(([name]) => name === "default") ?? [];
  if (typeof text === "string") return { text, source: `${source} ("default")` };
  const names = named.slice(0, 10).map(([name]) => shortJson(name)).join(", ") || "none";
  throw new Error(
    `Cannot take the chat template of ${source}: required a text, or one named "default" among several, got ` +
      `${names}; write the one you want into a file and set chat_template to file:PATH`,
  );
}

/**
 * The chat template of a tokenizer's folder; null where it has none.
 * @param config tokenizer_config.json
 * @throws Error when a file cannot be read, or what it holds is no template
 */
export async function readChatTemplate(
  folder: string,
  config: Readonly<Record<string, unknown>>,
): Promise<ChatTemplateText | null> {
  const jinja = await readIfThere(join(folder, JINJA_FILE), READ);
  if (jinja !== null) return { text: jinja, source: join(folder, JINJA_FILE) };
  const ofConfig = templateOf(config.chat_template, join(folder, "tokenizer_config.json"));
  if (ofConfig !== null) return ofConfig;
  const json = await readIfThere(join(folder, JSON_FILE), READ);
  if (json === null) return null;
  const path = join(folder, JSON_FILE);
  return templateOf(parsedObject(json, path, "correct it, or delete it").chat_template, path);
}

/** What a chat_template that names a file begins with. */
const FILE = "file:";

/**
 * The template of the file that the setting chat_template names, as file:PATH; null where it names none.
 * @throws Error when it cannot be read
 */
export async function readNamedTemplate(setting: string | null): Promise<ChatTemplateText | null> {
  if (!setting?.startsWith(FILE)) return null;
  const path = setting.slice(FILE.length);
  const text = await readIfThere(path, READ);
  if (text !== null) return { text, source: `'${path}'` };
  throw new Error(
    `Cannot read the chat template '${path}': there is no such file; correct the path in chat_template (file:PATH)`,
  );
}
