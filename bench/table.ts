/** A benchmark's numbers as an aligned table. Pure. */
import type { Ceilings } from "./ceilings.ts";
import type { Timing } from "./measure.ts";
import { LONGEST_FORWARD_SECONDS, type OpTiming } from "./op_timing.ts";
import { ROTATED_BYTES } from "./rotation.ts";

export interface BenchReport {
  device: string;
  driver: string;
  runtime: string;
  /** ISO 8601. */
  date: string;
  ceilings: Ceilings;
  ops: OpTiming[];
  /** Other libraries that were timed beside plain tfjs. */
  peers: string[];
  /** Cases that this device cannot run, and why. */
  skipped: { name: string; reason: string }[];
}

/** Speed of a case's kernels against the ceilings; null where the case does not say its work. */
export interface Speed {
  gflops: number | null;
  gbps: number | null;
  /** The larger share of the two ceilings, and which it is. */
  share: number | null;
  bound: "fma" | "copy" | null;
}

export function speedOf({ flops, bytes, kernels }: OpTiming, ceilings: Ceilings): Speed {
  const gflops = flops === null ? null : flops / kernels.seconds / 1e9;
  const gbps = bytes === null ? null : bytes / kernels.seconds / 1e9;
  const compute = gflops === null ? -1 : gflops / ceilings.fmaGflops;
  const copy = gbps === null ? -1 : gbps / ceilings.copyGBps;
  if (compute < 0 && copy < 0) return { gflops, gbps, share: null, bound: null };
  return { gflops, gbps, share: Math.max(compute, copy), bound: compute >= copy ? "fma" : "copy" };
}

/** How many times as long the plain tfjs composition takes; null where there is none. */
export function speedup(
  { forward, plainForward }: Pick<OpTiming, "forward" | "plainForward">,
): number | null {
  return plainForward && plainForward.seconds / forward.seconds;
}

/** Three significant digits without an exponent: "0.123", "12.3", "12345". */
export function threeDigits(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

const NONE = "-";
const micros = (timing: Timing | null) => timing ? threeDigits(timing.seconds * 1e6) : NONE;
const spread = ({ spread }: Timing) => spread === null ? NONE : `${Math.round(spread * 100)}%`;
const orNone = (value: number | null) => value === null ? NONE : threeDigits(value);

const headings = (peers: readonly string[]) => [
  "case",
  "kernels us",
  "+-",
  "GFLOP/s",
  "GB/s",
  "of ceiling",
  "call us",
  "+-",
  "with backward us",
  "plain tfjs us",
  "speed-up",
  ...peers.flatMap((peer) => [`${peer} us`, "speed-up"]),
  "operands",
];

const times = (ratio: number | null) => ratio === null ? NONE : `${threeDigits(ratio)}x`;

function peerCells({ peers, forward }: OpTiming, peer: string): string[] {
  const timing = peers[peer] ?? null;
  return [micros(timing), times(timing && timing.seconds / forward.seconds)];
}

/** Copies and their size; a star where a cache may hold them all. */
function operandsCell({ copies, rotatedBytes }: OpTiming): string {
  const size = `${copies} x ${threeDigits(rotatedBytes / copies / 2 ** 20)}`;
  return rotatedBytes < ROTATED_BYTES ? `${size}*` : size;
}

function cells(timing: OpTiming, ceilings: Ceilings, peers: readonly string[]): string[] {
  const { gflops, gbps, share, bound } = speedOf(timing, ceilings);
  return [
    timing.name,
    micros(timing.kernels),
    spread(timing.kernels),
    orNone(gflops),
    orNone(gbps),
    share === null ? NONE : `${threeDigits(share * 100)}% ${bound}`,
    micros(timing.forward),
    spread(timing.forward),
    micros(timing.forwardBackward),
    micros(timing.plainForward),
    times(speedup(timing)),
    ...peers.flatMap((peer) => peerCells(timing, peer)),
    operandsCell(timing),
  ];
}

/** Rows under their headings, the first column to the left, numbers to the right. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const place = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]);
  return rows.map((row) => row.map(place).join("  ").trimEnd()).join("\n");
}

/** "copy 5 GB/s read + written, FMA 60 GFLOP/s f32", and the tensor cores where there are any. */
export function ceilingsText({ copyGBps, fmaGflops, matrixGflops }: Ceilings): string {
  const matrix = matrixGflops === null
    ? ""
    : `, subgroup matrix ${threeDigits(matrixGflops)} GFLOP/s f16 into f32`;
  return `copy ${threeDigits(copyGBps)} GB/s read + written, FMA ${
    threeDigits(fmaGflops)
  } GFLOP/s f32${matrix}`;
}

/** The whole report as text. */
export function benchTable(report: BenchReport): string {
  const { ceilings, ops, skipped, peers } = report;
  const clock = ops.every(({ kernels }) => kernels.source === "gpu timestamps")
    ? "GPU timestamps"
    : "the wall clock, since this device has no timestamps";
  return [
    `${report.device} (${report.driver}), ${report.runtime}, ${report.date}`,
    `ceilings: ${ceilingsText(ceilings)}`,
    "",
    alignColumns([headings(peers), ...ops.map((timing) => cells(timing, ceilings, peers))]),
    ...skipped.map(({ name, reason }) => `${name}: not run, ${reason}`),
    "",
    `kernels        forward alone, by ${clock}; its GFLOP/s and GB/s`,
    "of ceiling     the larger share of the two; over 100% of copy means that the operands stay in a cache",
    "call           wall clock of a call among many queued ones, the CPU's part included",
    "with backward  the same through the tape, forward included; " +
    `not measured for an op without gradient, or where a call takes over ${LONGEST_FORWARD_SECONDS} s`,
    "speed-up       the other library over call; its results are held against ours before it is timed",
    "operands       copies used in turn, and MiB that one call moves; * all of them may fit in a cache",
    "+-             half the interquartile range; - for fewer than three samples",
  ].join("\n");
}
