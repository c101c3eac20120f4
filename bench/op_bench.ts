/** Times every op of bench/cases on this device, against its ceilings and plain tfjs. */
import { readdirSync } from "node:fs";
import { openGpu } from "../src/gpu/device.ts";
import type { OpCase } from "./case.ts";
import { measureCeilings } from "./ceilings.ts";
import { timeOp, unfitReason } from "./op_timing.ts";
import { showProgress } from "./progress.ts";
import { type BenchReport, speedOf, speedup } from "./table.ts";

interface NamedCase {
  op: string;
  opCase: OpCase;
}

const CASE_FOLDER = new URL("cases/", import.meta.url);

/**
 * The benchmark cases of all ops, or of one.
 * @throws RangeError for an op that has no case file
 */
export async function benchCases(only?: string): Promise<NamedCase[]> {
  const ops = readdirSync(CASE_FOLDER).filter((file) => file.endsWith(".ts")).map((file) => file.slice(0, -3))
    .sort();
  if (only !== undefined && !ops.includes(only)) {
    throw new RangeError(`Cannot benchmark "${only}": no such op; ops: ${ops.join(", ")}`);
  }
  const found: NamedCase[] = [];
  for (const op of only === undefined ? ops : [only]) {
    const { cases } = await import(new URL(`${op}.ts`, CASE_FOLDER).href) as { cases: OpCase[] };
    found.push(
      ...cases.filter(({ bench, benchOnly }) => bench && benchOnly).map((opCase) => ({ op, opCase })),
    );
  }
  return found;
}

/** Seconds of the report as well as what the table derives from them. */
export function reportJson(report: BenchReport): string {
  const ops = report.ops.map((timing) => ({
    ...timing,
    ...speedOf(timing, report.ceilings),
    speedup: speedup(timing),
  }));
  return `${JSON.stringify({ ...report, ops }, null, 2)}\n`;
}

/** Times all ops, or one. */
export async function benchOps(op: string | undefined, repeat: number): Promise<BenchReport> {
  const cases = await benchCases(op);
  const { device, info } = await openGpu();
  const date = new Date().toISOString();
  showProgress("measuring the device's ceilings");
  const ceilings = await measureCeilings(device);
  const report: BenchReport = {
    device: info.name,
    driver: info.driver,
    runtime: `${info.runtime} ${info.runtimeVersion}`,
    date,
    ceilings,
    ops: [],
    skipped: [],
  };
  for (const [i, { op, opCase }] of cases.entries()) {
    showProgress(`${i + 1}/${cases.length} ${opCase.name}`);
    const reason = unfitReason(opCase.inputs, info.limits.maxStorageBufferBindingSize);
    if (reason) report.skipped.push({ name: opCase.name, reason });
    else report.ops.push(await timeOp(op, opCase, repeat));
  }
  showProgress("");
  return report;
}
