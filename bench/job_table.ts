/** The phases of a step as a table, and where their GPU time goes. Pure. */
import { type Ceilings, ceilingsText } from "./ceilings.ts";
import { HEAD_PHASE, type JobReport, type PhaseReport } from "./job.ts";
import { alignColumns, milliseconds, NONE, orNone, percent, spreadOf, threeDigits } from "./table.ts";

const gpuSeconds = ({ kernels }: PhaseReport) =>
  kernels && kernels.reduce((sum, { seconds }) => sum + seconds, 0);
const boundBytes = ({ kernels }: PhaseReport) =>
  kernels && kernels.reduce((sum, { boundBytes }) => sum + boundBytes, 0);

/** The time that the work would take at the ceilings, over the time it took; null without a count of bytes. */
export function rooflineShare(phase: PhaseReport, { copyGBps, fmaGflops }: Ceilings): number | null {
  const bytes = boundBytes(phase);
  if (bytes === null) return null;
  return Math.max(phase.flops / fmaGflops, bytes / copyGBps) / 1e9 / phase.timing.seconds;
}

function phaseCells(phase: PhaseReport, ceilings: Ceilings): string[] {
  const { name, tokens, timing, flops } = phase;
  const { seconds, jsSeconds } = timing;
  const [gpu, bytes, share] = [gpuSeconds(phase), boundBytes(phase), rooflineShare(phase, ceilings)];
  return [
    name,
    milliseconds(seconds),
    spreadOf(timing),
    tokens === 0 ? NONE : threeDigits(tokens / seconds),
    percent(jsSeconds / seconds),
    orNone(gpu, milliseconds),
    threeDigits(flops / 1e9),
    threeDigits(flops / seconds / 1e9),
    orNone(bytes && bytes / 1e9),
    orNone(bytes && bytes / seconds / 1e9),
    orNone(share, percent),
  ];
}

const HEADINGS = "phase  ms  +-  tokens/s  JS  kernels ms  GFLOP  GFLOP/s  GB  GB/s  of roofline".split("  ");

/** One line per phase, and their sum. */
export function phaseTable({ phases, ceilings }: JobReport): string {
  const parts = phases.filter(({ name }) => name !== HEAD_PHASE);
  const sumOf = (of: (phase: PhaseReport) => number) => parts.reduce((sum, phase) => sum + of(phase), 0);
  const seconds = sumOf(({ timing }) => timing.seconds);
  const js = sumOf(({ timing }) => timing.jsSeconds);
  const total = ["step", milliseconds(seconds), "", "", percent(js / seconds)];
  const blank = Array(HEADINGS.length - total.length).fill("");
  return alignColumns([
    HEADINGS,
    ...phases.map((phase) => phaseCells(phase, ceilings)),
    [...total, ...blank],
  ]);
}

/** Kernels of all phases, the longest first: calls, time, share, and the time in each phase. */
export function kernelTable({ phases }: JobReport): string {
  const profiled = phases.filter(({ name, kernels }) => kernels && name !== HEAD_PHASE);
  if (profiled.length === 0) return "no kernel times: this device has no timestamps";
  const rows = new Map<string, { calls: number; bytes: number; seconds: number[] }>();
  profiled.forEach(({ kernels }, p) => {
    for (const { kernel, calls, seconds, boundBytes } of kernels!) {
      const row = rows.get(kernel) ?? { calls: 0, bytes: 0, seconds: profiled.map(() => 0) };
      row.calls += calls;
      row.bytes += boundBytes;
      row.seconds[p] += seconds;
      rows.set(kernel, row);
    }
  });
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const total = sum([...rows.values()].map(({ seconds }) => sum(seconds)));
  const sorted = [...rows].sort(([, a], [, b]) => sum(b.seconds) - sum(a.seconds));
  return alignColumns([
    ["kernel", "calls", "ms", "share", "GB/s", ...profiled.map(({ name }) => name)],
    ...sorted.map(([kernel, { calls, bytes, seconds }]) => [
      kernel,
      String(calls),
      milliseconds(sum(seconds)),
      percent(sum(seconds) / total),
      bytes === 0 ? NONE : threeDigits(bytes / sum(seconds) / 1e9),
      ...seconds.map((own) => own <= 0 ? NONE : milliseconds(own)),
    ]),
  ]);
}

const JOB_LEGEND = [
  "ms           wall clock of the phase alone until the GPU is done; +- half the interquartile range",
  "tokens/s     read (prefill, score, reference, forward/backward) or made (decode), in all rows together; " +
  "a prompt that is",
  "             computed once counts for each completion that it is read with",
  "JS           share of the wall clock in which this process did not wait for the GPU; " +
  "drivers that block a submit count",
  "kernels ms   sum of the kernels' own times, each in a pass of its own",
  "GFLOP        of the model's matmuls and attention, counted from its shape; what is computed twice counts once",
  "GB           bindings of all kernels: each operand once per kernel, whole tables though some rows are read",
  "of roofline  max(GFLOP at the FMA ceiling, GB at the copy ceiling) over ms",
  "decode       a generation less its prefill; forward/backward: an update less its optimizer",
].join("\n");

/** The whole report as text. */
export function jobTable(title: string, report: JobReport): string {
  return [
    title,
    `ceilings: ${ceilingsText(report.ceilings)}`,
    "",
    phaseTable(report),
    "",
    kernelTable(report),
    "",
    JOB_LEGEND,
  ].join("\n");
}
