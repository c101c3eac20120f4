/** The `bench` command: speed of every op on this device, against its ceilings and plain tfjs. */
import { readdirSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { openGpu } from "../src/gpu/device.ts";
import { writeFileAtomic } from "../src/io/atomic_files.ts";
import type { OpCase } from "./case.ts";
import { measureCeilings } from "./ceilings.ts";
import { timeOp, unfitReason } from "./op_timing.ts";
import { type BenchReport, benchTable, speedOf, speedup } from "./table.ts";

interface BenchOptions {
  op?: string;
  json?: string;
  repeat: number;
}

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

/** One line that is written over on a terminal, and a line each elsewhere; on stderr, so that the table stays alone. */
function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}

/** Seconds of the report as well as what the table derives from them. */
function reportJson(report: BenchReport): string {
  const ops = report.ops.map((timing) => ({
    ...timing,
    ...speedOf(timing, report.ceilings),
    speedup: speedup(timing),
  }));
  return `${JSON.stringify({ ...report, ops }, null, 2)}\n`;
}

async function runBench({ op, repeat }: BenchOptions): Promise<BenchReport> {
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

function repeatCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new InvalidArgumentError("need a whole number, at least 1.");
}

/** `bench`: prints the table, writes every number with --json; returns the exit code. */
export async function benchCommand(args: string[]): Promise<number> {
  const options = new Command("bench")
    .description("Time every op on this device. The tests hold the same ops against their f64 twins.")
    .option("--op <name>", "only this op: a file name in bench/cases without .ts")
    .option("--json <file>", "write all numbers to this file")
    .option("--repeat <count>", "samples per measurement", repeatCount, 5)
    .allowExcessArguments(false)
    .parse(args, { from: "user" })
    .opts<BenchOptions>();
  const report = await runBench(options);
  process.stdout.write(`${benchTable(report)}\n`);
  if (options.json !== undefined) {
    await writeFileAtomic(options.json, reportJson(report));
    process.stdout.write(`Written to ${options.json}\n`);
  }
  return 0;
}
