/** What the pages of the project hold: blocks of code, commands to type, spans of code, links. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./program.ts";

export interface Page {
  /** Relative to the checkout. */
  path: string;
  text: string;
}

export interface Command {
  page: string;
  /** As it is typed, on one line. */
  line: string;
  /** Variables that stand in front of it. */
  variables: string[];
  /** The task of this program that it starts; undefined where it starts another program. */
  task: string | undefined;
  /** Of the task; else the words of the line. */
  words: string[];
}

/** Pages that people read, the ones in `docs/` among them. */
export function readPages(): Page[] {
  const atRoot = readdirSync(ROOT).filter((name) => name.endsWith(".md"));
  const inDocs = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
  return [...atRoot, ...inDocs.map((name) => `docs/${name}`)]
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

/** The blocks between fences of one language. */
export function blocksOf({ text }: Page, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm");
  return [...text.matchAll(fence)].map(([, block]) => block);
}

/** Spans of code outside of blocks, as in `npm run train`. */
export function spansOf({ text }: Page): string[] {
  const prose = text.replace(/^```[^]*?^```$/gm, "");
  return [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);
}

/** All that a page has typed: lines of its blocks, and spans that start one of this program's tasks. */
export function commandsOf(page: Page): Command[] {
  const lines = blocksOf(page, "sh").flatMap((block) =>
    block.replace(/<<'(\w+)'\n[^]*?\n\1$/gm, "").replaceAll("\\\n", " ").split("\n")
  );
  const spans = spansOf(page).filter((span) => /^(npm run|npm test|npx|deno task) \S/.test(span));
  return [...lines, ...spans]
    .flatMap((line) => line.replace(/(^|\s)#.*$/, "").split(/&&|;|&(?=\s*$)|\$\(|\)/))
    .map((line) => line.replace(/^\s*\w+=$/, "").trim().replace(/\s+/g, " "))
    .filter((line) => line !== "")
    .map((line) => commandOf(page.path, line));
}

function commandOf(page: string, line: string): Command {
  const all = wordsOf(line.replace(/^export /, ""));
  const isVariable = (word: string) => /^\w+=/.test(word);
  const first = all.findIndex((word) => !isVariable(word));
  const variables = (first < 0 ? all : all.slice(0, first)).map((word) => word.split("=")[0]);
  const words = first < 0 ? [] : all.slice(first);
  const started = /(?:^|\s)(?:npm run|npx grpo-webgpu|deno task|npm(?= test)) (\S+)(?: --)?(?: (.*))?$/
    .exec(words.join(" "));
  if (!started) return { page, line, variables, task: undefined, words };
  const [, task, rest = ""] = started;
  return { page, line, variables, task, words: wordsOf(rest) };
}

/** Words as a shell splits them, without what it puts into variables. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:"[^"]*"|'[^']*'|\S)+/g)].map(([word]) => word.replace(/["']/g, ""));
}

/** Targets of links, but those on the network. */
export function linksOf({ text }: Page): string[] {
  const prose = text.replace(/^```[^]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** Names that a link may have behind its "#": of headings, as GitHub makes them, and of <a name>. */
export function anchorsOf({ text }: Page): Set<string> {
  const prose = text.replace(/^```[^]*?^```$/gm, "");
  const headings = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-")
  );
  return new Set([...headings, ...[...prose.matchAll(/<a name="([^"]+)">/g)].map(([, name]) => name)]);
}
