/** A file of settings as its keys and values, each with its place. */
import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from "yaml";
import type { Given } from "./given.ts";
import { shortJson, shortLine } from "./parsed_json.ts";

/** The text of a config file; reading it is the caller's. */
export interface ConfigSource {
  text: string;
  /** Stands before each problem, as `fileName:line:column`. */
  fileName: string;
}

/** Keys and values in the order of the file. What is wrong is added to `problems`, and nothing is left out unsaid. */
export function readYaml({ text, fileName }: ConfigSource, problems: string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  const document = parsed(text, lines);
  if (document === null) {
    problems.push(`${fileName}:1:1: lists or mappings are nested too deeply; need lines of "key: value"`);
    return given;
  }
  for (const fault of [...document.errors, ...document.warnings]) {
    problems.push(`${at(fault.pos[0])}: this is not valid YAML: ${shortLine(fault.message)}`);
  }
  if (document.errors.length > 0) return given;
  // An alias may stand for itself, or for more values than memory holds.
  const aliases = aliasesOf(document);
  for (const { name, offset } of aliases) {
    problems.push(
      `${at(offset)}: ${
        shortJson(`*${name}`)
      } stands for a value elsewhere, which is not read; write the value here`,
    );
  }
  if (aliases.length > 0) return given;
  if (!isMap(document.contents)) {
    const found = document.contents === null ? "nothing" : "a list or a single value";
    problems.push(`${fileName}:1:1: need lines of "key: value", got ${found}; start from a file in configs/`);
    return given;
  }
  for (const { key, value } of document.contents.items) {
    const place = at(isScalar(key) ? key.range?.[0] ?? 0 : rangeOf(key));
    if (!isScalar(key) || typeof key.value !== "string") {
      problems.push(
        `${place}: a key must be a word, got ${
          shortLine(String(key).replace(/\s*\n\s*/g, " "))
        }; docs/config.md lists every key`,
      );
      continue;
    }
    given.set(key.value, { value: isNode(value) ? value.toJS(document) : value, where: place });
  }
  return given;
}

const isNode = (value: unknown): value is { toJS(document: Document): unknown } =>
  typeof value === "object" && value !== null && "toJS" in value;

const rangeOf = (node: unknown): number => (node as { range?: [number] | null } | null)?.range?.[0] ?? 0;

/** null where the parser ran out of stack. */
function parsed(text: string, lineCounter: LineCounter) {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false, logLevel: "error" });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function aliasesOf(document: Document): { name: string; offset: number }[] {
  const aliases: { name: string; offset: number }[] = [];
  visit(document, {
    Alias: (_key, { source, range }) => void aliases.push({ name: source, offset: range?.[0] ?? 0 }),
  });
  return aliases;
}
