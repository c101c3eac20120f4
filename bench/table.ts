/** Cells and columns of every table here. Pure. */
import type { Timing } from "./measure.ts";

/** A cell that has no figure. */
export const NONE = "-";

/** Three significant digits without an exponent: "0.123", "12.3", "12345". */
export function threeDigits(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

export const orNone = (value: number | null, toText = threeDigits) => value === null ? NONE : toText(value);
/** 0.25 as "25%". */
export const percent = (share: number) => `${Math.round(share * 100)}%`;
/** "3.62x" */
export const times = (ratio: number) => `${threeDigits(ratio)}x`;
export const spreadOf = ({ spread }: Pick<Timing, "spread">) => orNone(spread, percent);
export const milliseconds = (seconds: number) => threeDigits(seconds * 1e3);
export const micros = ({ seconds }: Pick<Timing, "seconds">) => threeDigits(seconds * 1e6);

/** What was left out, and why. */
export interface Skipped {
  name: string;
  reason: string;
}

/** @param error why it cannot run here; its first line is told */
export const skippedFor = (name: string, error: unknown): Skipped => ({
  name,
  reason: (error as Error).message.split("\n")[0],
});

export const notRun = ({ name, reason }: Skipped) => `${name}: not run, ${reason}`;

/** Rows under their headings, the first column to the left, numbers to the right. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const place = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]);
  return rows.map((row) => row.map(place).join("  ").trimEnd()).join("\n");
}
