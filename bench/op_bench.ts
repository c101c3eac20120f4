/** Times every op of test/cases on this device, against its ceilings and plain tfjs. */
import { openGpu } from "../src/gpu/device.ts";
import type { OpCase } from "../test/cases/case.ts";
import { caseSuites } from "../test/cases/suites.ts";
import { measureCeilings } from "./ceilings.ts";
import { checkOp } from "./correctness.ts";
import { measuredOn } from "./device_line.ts";
import type { BenchReport } from "./op_table.ts";
import { type CasePeer, timeOp, unfitReason } from "./op_timing.ts";
import { type PeerChoice, wantsPeer } from "./peers/choice.ts";
import { showProgress } from "./progress.ts";
import { layersOfCases, takeTuning } from "./tuning.ts";

/** Those that are timed. */
export const benchmarksOf = (cases: readonly OpCase[]) =>
  cases.filter(({ bench, benchOnly }) => bench && benchOnly);

/** The libraries beside plain tfjs that are timed. jax-js is loaded only where it is wanted: tests need it not. */
async function peersOf(choice: PeerChoice, device: GPUDevice): Promise<CasePeer[]> {
  if (!wantsPeer(choice, "jax")) return [];
  return [await (await import("./peers/jax_ops.ts")).jaxPeer(device)];
}

/**
 * Times all ops, or one, by the kernels that are known to be the fastest here; with `tune` these are measured first.
 * @throws RangeError when the op has no case file
 * @throws Error when an op is wrong: it is not timed, and nothing after it
 */
export async function benchOps(
  op: string | undefined,
  { repeats, peer, tune = false }: { repeats: number; peer: PeerChoice; tune?: boolean },
): Promise<BenchReport> {
  const suites = await caseSuites(op);
  const gpu = await openGpu();
  const measured = measuredOn(gpu);
  await takeTuning(gpu, tune ? layersOfCases(suites.flatMap(({ cases }) => benchmarksOf(cases))) : null);
  showProgress("measuring the device's ceilings");
  const ceilings = await measureCeilings(gpu.device);
  const peers = await peersOf(peer, gpu.device);
  const report: BenchReport = {
    ...measured,
    ceilings,
    ops: [],
    peers: peers.map(({ name }) => name),
    skipped: [],
  };
  const options = { repeats, withTfjs: wantsPeer(peer, "tfjs"), peers };
  for (const { op, cases } of suites) {
    showProgress(`${op}: held against its twin`);
    await checkOp(cases);
    for (const opCase of benchmarksOf(cases)) {
      showProgress(opCase.name);
      const reason = unfitReason(opCase.inputs, gpu.info.limits.maxStorageBufferBindingSize);
      if (reason) report.skipped.push({ name: opCase.name, reason });
      else report.ops.push(await timeOp(op, opCase, options));
    }
  }
  showProgress("");
  return report;
}
