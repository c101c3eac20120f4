/** Text measured in a terminal's columns: a Chinese character or an emoji takes two. */
import stringWidth from "fast-string-width";

/** Columns that a line takes. */
export function widthOf(line: string): number {
  return stringWidth(line);
}

/** `text` followed by spaces up to `width` columns. */
export function padColumns(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

/** A text, or the parts of one: it breaks between them where each has room in a line. */
export type Wrapped = string | readonly string[];

/**
 * `text` in lines of at most `columns`, broken at spaces; all but the first begin with `indent` spaces. A word that is
 * wider stays whole, so that a path can be copied.
 * @param used columns of the first line that are taken
 */
export function wrapText(text: Wrapped, columns: number, indent: number, used = indent): string {
  const lines: string[] = [];
  let line = "";
  let room = columns - used;
  const parts = typeof text === "string"
    ? text.split(" ")
    : text.flatMap((part) => widthOf(part) > columns - indent ? part.split(" ") : [part]);
  for (const word of parts) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && widthOf(longer) > room) {
      lines.push(line.trimEnd());
      line = word;
      room = columns - indent;
    } else {
      line = longer;
    }
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}

/** Every line of `text` in lines of at most `columns`, under its own beginning. */
export function wrapLines(text: string, columns = Infinity): string {
  return text.split("\n").map((line) => {
    const indent = line.length - line.trimStart().length;
    return line.slice(0, indent) + wrapText(line.slice(indent), columns, indent);
  }).join("\n");
}

/** Labels and their texts as a table; texts are wrapped beside their label. */
export function labelled(
  entries: readonly (readonly [label: string, text: Wrapped])[],
  columns = Infinity,
): string {
  const width = Math.max(...entries.map(([label]) => widthOf(label)));
  return entries.map(([label, text]) => `${padColumns(label, width)}  ${wrapText(text, columns, width + 2)}`)
    .join("\n");
}

const GAP = "  ";

/** A part of a line, shown whole or not at all. */
export interface Column {
  /** undefined: there is nothing to show. */
  text: string | undefined;
  /** Those with the smallest number are shown where not all have room. */
  rank: number;
}

/** The columns in their order, without those that come last in rank and have no room. */
export function fittingColumns(columns: readonly Column[], room: number): string {
  const there = columns.filter(({ text }) => text !== undefined);
  let used = -GAP.length;
  const shown = new Set<Column>();
  for (const column of [...there].sort((a, b) => a.rank - b.rank)) {
    used += GAP.length + widthOf(column.text!);
    if (used > room) break;
    shown.add(column);
  }
  return there.filter((column) => shown.has(column)).map(({ text }) => text).join(GAP);
}

/** `text` in at most `columns` columns, the last of them "…" where it had to be cut. */
export function cutColumns(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let cut = "";
  let used = 1;
  for (const character of text) {
    used += widthOf(character);
    if (used > columns) break;
    cut += character;
  }
  return `${cut}…`;
}
