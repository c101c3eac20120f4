/** What a part of a GPU report says as it goes: a line of JSON each, so that a part that is stopped keeps its lines. */

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

/** What each part is given. */
export interface PartContext {
  /** Tiny shapes, to see on any device whether all of it runs. */
  isSmall: boolean;
  say: Say;
}

const KINDS = ["measured", "ceiling", "fact", "left out"];

/** The fields of a line of JSON; null for other text, such as a driver's own words or half a line. */
function fieldsOf(text: string): Record<string, unknown> | null {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The line that a part printed; null for what is none. */
export function readLine(text: string): ReportLine | null {
  const fields = fieldsOf(text);
  const isLine = fields && KINDS.includes(fields.kind as string) && typeof fields.name === "string";
  return isLine ? fields as unknown as ReportLine : null;
}

/** The line that the PyTorch program printed, which knows nothing of kinds; null for what is none. */
export function readTorchLine(text: string): ReportLine | null {
  const { name, seconds, flops, bytes, reason, ...facts } = fieldsOf(text) ?? {};
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
