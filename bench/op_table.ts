/** The ops as a table. Pure. */
import { type Ceilings, ceilingsText } from "./ceilings.ts";
import { deviceLine, type Measured } from "./device_line.ts";
import { LONGEST_FORWARD_SECONDS, type OpTiming } from "./op_timing.ts";
import { ROTATED_BYTES } from "./rotation.ts";
import {
  alignColumns,
  micros,
  NONE,
  notRun,
  orNone,
  type Skipped,
  spreadOf,
  threeDigits,
  times,
} from "./table.ts";

export interface BenchReport extends Measured {
  ceilings: Ceilings;
  ops: OpTiming[];
  /** Other libraries that were timed beside plain tfjs. */
  peers: string[];
  /** Cases that this device cannot run, and why. */
  skipped: Skipped[];
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

/** The report with what the table derives from its seconds, for --json. */
export function withSpeeds(report: BenchReport): object {
  const ops = report.ops.map((timing) => ({
    ...timing,
    ...speedOf(timing, report.ceilings),
    speedup: speedup(timing),
  }));
  return { ...report, ops };
}

const OWN_HEADINGS =
  "case  kernels us  +-  GFLOP/s  GB/s  of ceiling  call us  +-  with backward us  plain tfjs us  speed-up"
    .split("  ");

const headings = (peers: readonly string[]) => [
  ...OWN_HEADINGS,
  ...peers.flatMap((peer) => [`${peer} us`, "speed-up"]),
  "operands",
];

function peerCells({ peers, forward }: OpTiming, peer: string): string[] {
  const timing = peers[peer];
  return timing ? [micros(timing), times(timing.seconds / forward.seconds)] : [NONE, NONE];
}

/** Copies and their size; a star where a cache may hold them all. */
function operandsCell({ copies, rotatedBytes }: OpTiming): string {
  const size = `${copies} x ${threeDigits(rotatedBytes / copies / 2 ** 20)}`;
  return rotatedBytes < ROTATED_BYTES ? `${size}*` : size;
}

function cells(timing: OpTiming, ceilings: Ceilings, peers: readonly string[]): string[] {
  const { name, kernels, forward, forwardBackward, plainForward } = timing;
  const { gflops, gbps, share, bound } = speedOf(timing, ceilings);
  return [
    name,
    micros(kernels),
    spreadOf(kernels),
    orNone(gflops),
    orNone(gbps),
    orNone(share, (found) => `${threeDigits(found * 100)}% ${bound}`),
    micros(forward),
    spreadOf(forward),
    forwardBackward ? micros(forwardBackward) : NONE,
    plainForward ? micros(plainForward) : NONE,
    orNone(speedup(timing), times),
    ...peers.flatMap((peer) => peerCells(timing, peer)),
    operandsCell(timing),
  ];
}

/** The whole report as text. */
export function benchTable(report: BenchReport): string {
  const { ceilings, ops, skipped, peers } = report;
  const clock = ops.every(({ kernels }) => kernels.source === "gpu timestamps")
    ? "GPU timestamps"
    : "the wall clock, since this device has no timestamps";
  return [
    deviceLine(report),
    `ceilings: ${ceilingsText(ceilings)}`,
    "",
    alignColumns([headings(peers), ...ops.map((timing) => cells(timing, ceilings, peers))]),
    ...skipped.map(notRun),
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
