/** What an earlier run on the same device took, and whether a difference is more than noise. */
import { readFileSync } from "node:fs";
import type { Ceilings } from "./ceilings.ts";
import type { Timing } from "./measure.ts";
import type { Measured } from "./device_line.ts";
import type { BenchReport } from "./op_table.ts";
import { alignColumns, micros, NONE, percent, threeDigits, times } from "./table.ts";

type Sample = Pick<Timing, "seconds" | "spread">;

export interface Baseline extends Measured {
  ceilings: Ceilings;
  /** By case name: kernels alone, and a call. */
  cases: Record<string, { kernels: Sample; call: Sample }>;
}

/** Stands for a spread that too few samples leave unknown. */
const UNKNOWN_SPREAD = 0.25;

const FOLDER = new URL("baselines/", import.meta.url);

/** bench/baselines/<device>-<runtime>.json, letters and digits only. */
export function baselineFile({ device, runtime }: Pick<BenchReport, "device" | "runtime">): URL {
  const words = `${device} ${runtime.split(" ")[0]}`.toLowerCase().match(/[a-z0-9]+/g)!;
  return new URL(`${words.join("-")}.json`, FOLDER);
}

/** @throws Error when there is no such file, or it is no baseline; names it */
export function readBaseline(file: URL | string): Baseline {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new Error(`No baseline at ${file instanceof URL ? file.pathname : file}: make one with --save`);
  }
  const baseline = JSON.parse(text) as Partial<Baseline>;
  if (!baseline.cases || !baseline.ceilings) {
    throw new Error(`${file} is no baseline: need "cases" and "ceilings"; make one with --save`);
  }
  return baseline as Baseline;
}

const sampleOf = ({ seconds, spread }: Timing): Sample => ({ seconds, spread });

/** The report as a baseline; cases that it did not run keep what `before` has of them. */
export function toBaseline(report: BenchReport, before: Baseline | null): Baseline {
  const { device, driver, runtime, date, ceilings, ops } = report;
  const measured = ops.map(({ name, kernels, forward }): [string, Baseline["cases"][string]] => [
    name,
    { kernels: sampleOf(kernels), call: sampleOf(forward) },
  ]);
  const cases = { ...before?.cases, ...Object.fromEntries(measured) };
  const sorted = Object.entries(cases).sort(([a], [b]) => a < b ? -1 : 1);
  return { device, driver, runtime, date, ceilings, cases: Object.fromEntries(sorted) };
}

/** How much the machine itself differs between two runs, by its ceilings: 0.1 for 10%. */
function driftOf(before: Ceilings, now: Ceilings): number {
  const factor = (a: number, b: number) => Math.max(a / b, b / a) - 1;
  return Math.max(factor(before.copyGBps, now.copyGBps), factor(before.fmaGflops, now.fmaGflops));
}

/**
 * "1.20x faster", "1.30x slower", or within noise: the change is no more than both spreads and `drift` together.
 * @param drift by which the machine itself differs
 */
export function verdict(before: Sample, now: Sample, drift = 0): string {
  const noise = (before.spread ?? UNKNOWN_SPREAD) + (now.spread ?? UNKNOWN_SPREAD) + drift;
  const ratio = before.seconds / now.seconds;
  const factor = Math.max(ratio, 1 / ratio);
  if (factor - 1 <= noise) return `within noise (${times(ratio)}, +-${percent(noise)})`;
  return `${times(factor)} ${ratio > 1 ? "faster" : "slower"}`;
}

const change = (before: string, now: string) => `${before} -> ${now}`;

/** The report against a baseline, case by case. Pure. */
export function comparisonTable(report: BenchReport, baseline: Baseline): string {
  const [before, now] = [baseline.ceilings, report.ceilings];
  const drift = driftOf(before, now);
  const rows = report.ops.map(({ name, kernels, forward }) => {
    const known = baseline.cases[name];
    if (!known) return [name, NONE, "new", NONE, "new"];
    return [
      name,
      change(micros(known.kernels), micros(kernels)),
      verdict(known.kernels, kernels, drift),
      change(micros(known.call), micros(forward)),
      verdict(known.call, forward, drift),
    ];
  });
  const copy = change(threeDigits(before.copyGBps), threeDigits(now.copyGBps));
  const fma = change(threeDigits(before.fmaGflops), threeDigits(now.fmaGflops));
  return [
    `against ${baseline.date}, ${baseline.device} (${baseline.driver}), ${baseline.runtime}`,
    `ceilings: copy ${copy} GB/s, FMA ${fma} GFLOP/s: what the machine itself does otherwise`,
    "",
    alignColumns([["case", "kernels us", "", "call us", ""], ...rows]),
    "",
    `within noise  no more than both spreads (${percent(UNKNOWN_SPREAD)} each where too few samples) ` +
    `and the ceilings' own change, ${percent(drift)}, together`,
  ].join("\n");
}
