/** What a part of a GPU report says as it goes: one line of JSON each, so that a part that is stopped keeps its lines. */

/** The unit that bounds a case from below. */
export type ArithmeticUnit = "fma" | "matrix";

/** A time that was taken. */
export interface MeasuredLine {
  kind: "measured";
  name: string;
  seconds: number;
  /** Multiplications and additions, and the unit that would make them fastest. */
  flops?: number;
  unit?: ArithmeticUnit;
  /** That must be read or written at least once. */
  bytes?: number;
  /** What the cost model says of it for the device that it is taken for; absent where it says nothing. */
  predictedSeconds?: number;
}

/** A rate that other lines are held against. */
export interface CeilingLine {
  kind: "ceiling";
  name: string;
  unit: ArithmeticUnit | "copy";
  /** 1e9 operations or bytes a second. */
  perSecond: number;
}

/** Something found out that is no time: a name, a version, whether a check passed. */
export interface FactLine {
  kind: "fact";
  name: string;
  value: string;
}

/** A case or a part that did not run. */
export interface LeftOutLine {
  kind: "left out";
  name: string;
  reason: string;
}

export type ReportLine = MeasuredLine | CeilingLine | FactLine | LeftOutLine;

/** Tells a line to whoever conducts the report. */
export type Say = (line: ReportLine) => void;

const KINDS = ["measured", "ceiling", "fact", "left out"];

/** The line that a program printed; null for what is none, such as a driver's own words. */
export function readLine(text: string): ReportLine | null {
  if (!text.startsWith("{")) return null;
  try {
    const line = JSON.parse(text) as ReportLine;
    return KINDS.includes(line.kind) && typeof line.name === "string" ? line : null;
  } catch {
    return null;
  }
}

/** A line of the PyTorch program, which knows nothing of kinds. */
export function readTorchLine(text: string): ReportLine | null {
  if (!text.startsWith("{")) return null;
  const { name, seconds, flops, bytes, reason, ...facts } = JSON.parse(text) as Record<string, unknown>;
  if (typeof name !== "string") return null;
  if (typeof reason === "string") return { kind: "left out", name, reason };
  if (typeof seconds !== "number") return { kind: "fact", name, value: Object.values(facts).join(", ") };
  const isF32 = name.includes("f32");
  return {
    kind: "measured",
    name,
    seconds,
    ...(typeof flops === "number" ? { flops, unit: isF32 ? "fma" as const : "matrix" as const } : {}),
    ...(typeof bytes === "number" ? { bytes } : {}),
  };
}
