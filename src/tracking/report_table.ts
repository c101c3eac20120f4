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

/** @param lines HTML of the rows */
export function table(columns: readonly Column[], lines: readonly string[]): string {
  const head = columns.map(({ label, align }) =>
    `<th scope="col" class="${align}">${escapeHtml(label)}</th>`
  );
  return `<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead>` +
    `<tbody>${lines.join("\n")}</tbody></table></div>`;
}

/**
 * A section, which a live page replaces by its newer self.
 * @param content HTML
 */
export function section(title: string, content: string): string {
  return `<section data-part="${title}"><h2>${title}</h2>${content}</section>`;
}
