/** Tables and sections of a report as HTML. What is not escaped here is said to be HTML. */
import { formatNumber } from "./plot_axes.ts";
import { escapeHtml } from "./printable.ts";

/** @param value null where a score does not apply */
export function numberCell(value: number | null): string {
  return `<td class="number">${value === null ? "" : formatNumber(value)}</td>`;
}

/** A column's heading, aligned like its cells. */
interface Column {
  label: string;
  align: "text" | "number";
}

export function text(label: string): Column {
  return { label, align: "text" };
}

export function numeric(label: string): Column {
  return { label, align: "number" };
}

/** A table's share of the page's 3 MB. */
const TABLE_BYTES = 60_000;

/**
 * A table of the rows that there is room for.
 * @param lines HTML of the rows
 */
export function table(columns: readonly Column[], lines: readonly string[]): string {
  let room = TABLE_BYTES;
  const shown = lines.filter((line) => (room -= Buffer.byteLength(line)) >= 0);
  const left = lines.length - shown.length;
  const note = left === 0 ? "" : `<p class="note">${left} more rows have no room here.</p>`;
  const head = columns.map(({ label, align }) =>
    `<th scope="col" class="${align}">${escapeHtml(label)}</th>`
  );
  return `<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead>` +
    `<tbody>${shown.join("\n")}</tbody></table></div>${note}`;
}

/**
 * A section, which a live page replaces by its newer self.
 * @param content HTML
 */
export function section(title: string, content: string): string {
  return `<section data-part="${title}"><h2>${title}</h2>${content}</section>`;
}
