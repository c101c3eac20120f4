/** Times every op of test/cases on this device, against its ceilings and plain tfjs. */
import { openGpu } from "../src/gpu/device.ts";
import type { OpCase } from "../test/cases/case.ts";
import { caseSuites } from "../test/cases/suites.ts";
import { measureCeilings } from "./ceilings.ts";
import { checkOp } from "./correctness.ts";
import { type CasePeer, timeOp, unfitReason } from "./op_timing.ts";
import { showProgress } from "./progress.ts";
import type { PeerChoice } from "./train_bench.ts";
import { type BenchReport, speedOf, speedup } from "./table.ts";

const benchmarksOf = (cases: readonly OpCase[]) => cases.filter(({ bench, benchOnly }) => bench && benchOnly);

/** The benchmark cases of all ops, or of one. @throws RangeError for an op that has no case file */
export async function benchCases(only?: string): Promise<{ op: string; opCase: OpCase }[]> {
  const suites = await caseSuites(only);
  return suites.flatMap(({ op, cases }) => benchmarksOf(cases).map((opCase) => ({ op, opCase })));
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

/** The libraries beside plain tfjs that are timed. jax-js is loaded only where it is wanted: tests need it not. */
async function peersOf(choice: PeerChoice, device: GPUDevice): Promise<CasePeer[]> {
  if (choice !== "jax" && choice !== "all") return [];
  return [await (await import("./peers/jax_ops.ts")).jaxPeer(device)];
}

/**
 * Times all ops, or one.
 * @throws Error when an op is wrong: it is not timed, and nothing after it
 */
export async function benchOps(
  op: string | undefined,
  repeat: number,
  peer: PeerChoice,
): Promise<BenchReport> {
  const suites = await caseSuites(op);
  const { device, info } = await openGpu();
  const date = new Date().toISOString();
  showProgress("measuring the device's ceilings");
  const ceilings = await measureCeilings(device);
  const peers = await peersOf(peer, device);
  const report: BenchReport = {
    device: info.name,
    driver: info.driver,
    runtime: `${info.runtime} ${info.runtimeVersion}`,
    date,
    ceilings,
    ops: [],
    peers: peers.map(({ name }) => name),
    skipped: [],
  };
  const options = { withTfjs: peer === "all" || peer === "tfjs", peers };
  for (const { op, cases } of suites) {
    showProgress(`${op}: held against its twin`);
    await checkOp(cases);
    for (const opCase of benchmarksOf(cases)) {
      showProgress(opCase.name);
      const reason = unfitReason(opCase.inputs, info.limits.maxStorageBufferBindingSize);
      if (reason) report.skipped.push({ name: opCase.name, reason });
      else report.ops.push(await timeOp(op, opCase, repeat, options));
    }
  }
  showProgress("");
  return report;
}
