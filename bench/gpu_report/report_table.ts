/** A GPU report as one table: case, measured, ceiling, share of it, predicted. Pure. */
import { alignColumns, milliseconds, NONE, percent, threeDigits } from "../table.ts";
import type { CeilingLine, MeasuredLine, ReportLine } from "./report_line.ts";

/** What a part said. */
export interface PartReport {
  part: string;
  /** Seconds that it took. */
  seconds: number;
  /** Why it ended early; null where it did not. */
  stopped: string | null;
  lines: readonly ReportLine[];
}

const HEADINGS = ["case", "ms", "rate", "ceiling", "share", "predicted ms"];

interface Bound {
  seconds: number;
  rate: string;
  ceiling: string;
}

/** The slower of what its arithmetic and its bytes need at the ceilings; null where neither is known. */
function boundOf(line: MeasuredLine, ceilings: ReadonlyMap<string, number>): Bound | null {
  const { flops, unit = "fma", bytes, seconds } = line;
  const bounds: Bound[] = [];
  const flopsCeiling = ceilings.get(unit);
  if (flops !== undefined && flopsCeiling !== undefined) {
    bounds.push({
      seconds: flops / flopsCeiling / 1e9,
      rate: `${threeDigits(flops / seconds / 1e12)} TFLOP/s`,
      ceiling: `${threeDigits(flopsCeiling / 1e3)} TFLOP/s`,
    });
  }
  const copyCeiling = ceilings.get("copy");
  if (bytes !== undefined && copyCeiling !== undefined) {
    bounds.push({
      seconds: bytes / copyCeiling / 1e9,
      rate: `${threeDigits(bytes / seconds / 1e9)} GB/s`,
      ceiling: `${threeDigits(copyCeiling)} GB/s`,
    });
  }
  bounds.sort((a, b) => b.seconds - a.seconds);
  return bounds[0] ?? null;
}

function measuredCells(line: MeasuredLine, ceilings: ReadonlyMap<string, number>): string[] {
  const bound = boundOf(line, ceilings);
  const { name, seconds, predictedSeconds } = line;
  return [
    name,
    milliseconds(seconds),
    bound?.rate ?? NONE,
    bound?.ceiling ?? NONE,
    bound ? percent(bound.seconds / seconds) : NONE,
    predictedSeconds === undefined ? NONE : milliseconds(predictedSeconds),
  ];
}

const ceilingCells = ({ name, unit, perSecond }: CeilingLine): string[] => [
  name,
  NONE,
  unit === "copy" ? `${threeDigits(perSecond)} GB/s` : `${threeDigits(perSecond / 1e3)} TFLOP/s`,
  NONE,
  NONE,
  NONE,
];

/** Facts first, then one table of all that was measured, then what did not run and why. */
export function reportText(parts: readonly PartReport[]): string {
  const lines = parts.flatMap(({ lines }) => lines);
  const ceilings = new Map<string, number>();
  for (const line of lines) {
    // The highest of several ways to measure one is the ceiling.
    if (line.kind === "ceiling") {
      ceilings.set(line.unit, Math.max(line.perSecond, ceilings.get(line.unit) ?? 0));
    }
  }
  const facts = lines.flatMap((line) => line.kind === "fact" ? [`${line.name}: ${line.value}`] : []);
  const rows = lines.flatMap((line) => {
    if (line.kind === "measured") return [measuredCells(line, ceilings)];
    return line.kind === "ceiling" ? [ceilingCells(line)] : [];
  });
  const leftOut = lines.flatMap((line) => line.kind === "left out" ? [`${line.name}: ${line.reason}`] : []);
  const taken = parts.map(({ part, seconds, stopped }) =>
    `${part}: ${seconds.toFixed(1)} s${stopped === null ? "" : `, ${stopped}`}`
  );
  const table = rows.length === 0 ? "nothing was measured" : alignColumns([HEADINGS, ...rows]);
  const sections = [facts.join("\n"), table];
  if (leftOut.length > 0) sections.push(["not run:", ...leftOut].join("\n"));
  sections.push(["parts:", ...taken].join("\n"));
  return sections.filter((section) => section !== "").join("\n\n");
}
