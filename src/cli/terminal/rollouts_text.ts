/** Kept completions as a table of a terminal's width. */
import { escapeControls } from "../../config/controls.ts";
import { fieldsOf, type FoundRollouts } from "../../tracking/rollout_query.ts";
import { cutColumns, padColumns, widthOf } from "./columns.ts";

const GAP = "  ";
/** Columns that a text has at the least, however many numbers stand beside it. */
const LEAST_TEXT = 8;

/** A number to four digits, a text on one line. */
function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (typeof value === "number") {
    return String(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
  }
  return escapeControls(
    typeof value === "string" ? value.replace(/\s+/g, " ").trim() : JSON.stringify(value),
  );
}

/**
 * A line for each, under the names of the columns; texts share what room the numbers leave.
 * @param width columns of the terminal
 */
export function rolloutsText(
  { rollouts, kinds }: FoundRollouts,
  columns: readonly string[],
  width: number,
): string {
  const rows = rollouts.map((record) => {
    const values: Readonly<Record<string, unknown>> = { ...record, ...fieldsOf(record, kinds) };
    return columns.map((name) => cellOf(values[name]));
  });
  const isNumber = columns.map((name) => kinds[name] === "number");
  const natural = columns.map((name, c) =>
    rows.reduce((most, row) => Math.max(most, widthOf(row[c])), widthOf(name))
  );
  // The narrow texts first, so that what they leave is the others'.
  const widths = natural.map((own, c) => isNumber[c] ? own : 0);
  const texts = columns.map((_, c) => c).filter((c) => !isNumber[c]).sort((a, b) => natural[a] - natural[b]);
  let room = width - GAP.length * (columns.length - 1) - widths.reduce((sum, own) => sum + own, 0);
  for (const [done, c] of texts.entries()) {
    widths[c] = Math.min(natural[c], Math.max(LEAST_TEXT, Math.floor(room / (texts.length - done))));
    room -= widths[c];
  }
  const lineOf = (cells: readonly string[]) =>
    cells.map((cell, c) => {
      const shown = cutColumns(cell, widths[c]);
      return isNumber[c] ? shown.padStart(widths[c]) : padColumns(shown, widths[c]);
    }).join(GAP).trimEnd();
  return [columns, ...rows].map(lineOf).join("\n");
}
