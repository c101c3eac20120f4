/** What an earlier run on the same device took, and whether a difference is more than noise. */
import { readFileSync } from "node:fs";
import type { Ceilings } from "./ceilings.ts";
import type { Timing } from "./measure.ts";
import { alignColumns, type BenchReport, threeDigits } from "./table.ts";

type Sample = Pick<Timing, "seconds" | "spread">;

export interface Baseline {
  device: string;
  driver: string;
  runtime: string;
  date: string;
  ceilings: Ceilings;
  /** By case name: kernels alone, and a call. */
  cases: Record<string, { kernels: Sample; call: Sample }>;
}

/** Stands for a spread that too few samples leave unknown. */
const UNKNOWN_SPREAD = 0.25;

const FOLDER = new URL("baselines/", import.meta.url);

/** bench/baselines/<device>-<runtime>.json, letters and digits only. */
export function baselineFile({ device, runtime }: Pick<BenchReport, "device" | "runtime">): URL {
  const slug = `${device} ${runtime.split(" ")[0]}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(
    /^-|-$/g,
    "",
  );
  return new URL(`${slug}.json`, FOLDER);
}

/** @throws Error naming the file where there is none, or it is no baseline */
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
  if (factor - 1 <= noise) return `within noise (${threeDigits(ratio)}x, +-${Math.round(noise * 100)}%)`;
  return `${threeDigits(factor)}x ${ratio > 1 ? "faster" : "slower"}`;
}

const change = (before: number, now: number) => `${threeDigits(before)} -> ${threeDigits(now)}`;

/** The report against a baseline, case by case. Pure. */
export function comparisonTable(report: BenchReport, baseline: Baseline): string {
  const micros = (before: Sample, now: Sample) => change(before.seconds * 1e6, now.seconds * 1e6);
  const drift = driftOf(baseline.ceilings, report.ceilings);
  const rows = report.ops.map(({ name, kernels, forward }) => {
    const before = baseline.cases[name];
    if (!before) return [name, "-", "new", "-", "new"];
    return [
      name,
      micros(before.kernels, kernels),
      verdict(before.kernels, kernels, drift),
      micros(before.call, forward),
      verdict(before.call, forward, drift),
    ];
  });
  const { ceilings } = baseline;
  return [
    `against ${baseline.date}, ${baseline.device} (${baseline.driver}), ${baseline.runtime}`,
    `ceilings: copy ${change(ceilings.copyGBps, report.ceilings.copyGBps)} GB/s, ` +
    `FMA ${
      change(ceilings.fmaGflops, report.ceilings.fmaGflops)
    } GFLOP/s: what the machine itself does otherwise`,
    "",
    alignColumns([["case", "kernels us", "", "call us", ""], ...rows]),
    "",
    `within noise  no more than both spreads (${
      UNKNOWN_SPREAD * 100
    }% each where too few samples) and the ceilings' own ` +
    `change, ${Math.round(drift * 100)}%, together`,
  ].join("\n");
}
