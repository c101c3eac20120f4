/**
 * Seconds of a dispatch, from what it does (work.ts) and where (devices.ts). One rule for all kernels:
 *
 *   seconds = launch + max(memory bytes / copy, cache bytes / cache, waves of workgroups)
 *
 * What was just written and fits in half of the shared cache costs no memory.
 * A core holds as many workgroups at once as its lanes, registers and workgroup memory allow. A wave of them takes the
 * longest chain of one, its waits included, or what all of them together ask of the core's issue, memory path and
 * matrix units, whichever is longer. Pure.
 */
import type { Device } from "./devices.ts";
import type { Step, Work } from "./work.ts";

/** What a dispatch's time is spent on. */
export type Bound = "memory" | "cache" | "issue" | "memory path" | "matrix units" | "waiting" | "launch";

export interface Cost {
  seconds: number;
  /** Of the seconds, launch and barrier. */
  launch: number;
  bound: Bound;
  /** Seconds that the work would take at the ceilings: the best unit's, and the copy's. */
  floor: number;
}

/** f32 operations a second. */
export const fmaFlops = ({ cores, clockGHz, subgroup, issue }: Device) =>
  2 * cores * clockGHz * 1e9 * subgroup * issue;

const LEAST_REGISTERS = 40;

/** Workgroups that a core holds at once. */
export function residentWorkgroups(work: Work, device: Device): number {
  const { lanes, registers = LEAST_REGISTERS, workgroupBytes = 0 } = work;
  const whole = Math.ceil(lanes / device.subgroup) * device.subgroup;
  const fitting = [
    device.workgroupsPerCore,
    device.lanesPerCore / whole,
    device.registersPerCore / (registers * whole),
    workgroupBytes > 0 ? device.workgroupMemory.perCore / workgroupBytes : Infinity,
  ];
  return Math.max(1, Math.floor(Math.min(...fitting)));
}

/** Cycles of a workgroup: alone from begin to end, and of each part of the core, which workgroups share. */
interface Cycles {
  alone: number;
  issue: number;
  path: number;
  matrix: number;
}

function stepCycles(step: Step, subgroups: number, device: Device): Cycles {
  const { instructions, wavefronts = 0, matrixFlops = 0 } = step;
  const { memory = 0, cache = 0, ahead = 0, shared = 0, barriers = 0 } = step;
  const { latency, issue } = device;
  const matrixPerCycle = (device.matrixFlops ?? fmaFlops(device)) / device.cores / (device.clockGHz * 1e9);
  const waits = memory * latency.memory + cache * latency.cache + shared * latency.shared +
    barriers * latency.barrier;
  // A subgroup issues one instruction in a cycle at most, and feeds one of a core's matrix units.
  const own = instructions * Math.max(1, subgroups / issue);
  const units = matrixFlops / matrixPerCycle;
  const busy = Math.max(own, wavefronts) + units * Math.max(1, issue / subgroups);
  const alone = Math.max(busy, ahead * latency.memory) + waits;
  return { alone, issue: instructions * subgroups / issue, path: wavefronts, matrix: units };
}

function chainCycles({ chain, lanes }: Work, device: Device): Cycles {
  const subgroups = Math.ceil(lanes / device.subgroup);
  const sum: Cycles = { alone: 0, issue: 0, path: 0, matrix: 0 };
  for (const step of chain) {
    const own = stepCycles(step, subgroups, device);
    for (const part of Object.keys(sum) as (keyof Cycles)[]) sum[part] += step.times * own[part];
  }
  return sum;
}

/** Cycles of so many workgroups at once on a core, and what they take. */
function waveCycles(count: number, { alone, issue, path, matrix }: Cycles, longest: number) {
  const parts: [number, Bound][] = [
    [alone * longest, "waiting"],
    [count * issue, "issue"],
    [count * path, "memory path"],
    [count * matrix, "matrix units"],
  ];
  return parts.reduce((most, part) => part[0] > most[0] ? part : most);
}

/** What a workgroup that runs alone spends the most of its cycles on. */
function boundAlone(cycles: Cycles): Bound {
  const most = Math.max(cycles.issue, cycles.path, cycles.matrix);
  if (cycles.alone > 2 * most) return "waiting";
  return most === cycles.path ? "memory path" : most === cycles.matrix ? "matrix units" : "issue";
}

export function costOf(work: Work, device: Device): Cost {
  const {
    workgroups,
    longest = 1,
    memoryBytes: touched,
    freshBytes = 0,
    cacheBytes,
    products = 0,
    flops = 0,
  } = work;
  const memoryBytes = touched - (touched <= device.cacheSize / 2 ? freshBytes : 0);
  const { cores, clockGHz } = device;
  const clock = clockGHz * 1e9;
  const cycles = chainCycles(work, device);
  const resident = residentWorkgroups(work, device);
  const whole = Math.floor(workgroups / (cores * resident));
  const left = workgroups - whole * cores * resident;
  const full = waveCycles(resident, cycles, longest);
  const last = waveCycles(Math.ceil(left / cores), cycles, longest);
  const busyCores = Math.min(cores, workgroups);
  const cacheSpeed = Math.min(device.cacheBytes, busyCores * device.cacheBytesPerCore * clock);
  const waves = (whole * full[0] + (left > 0 ? last[0] : 0)) / clock;
  const waveBound = whole > 0 ? full[1] : last[1];
  const parts: [number, Bound][] = [
    [waves, waveBound === "waiting" ? boundAlone(cycles) : waveBound],
    [memoryBytes / device.copyBytes, "memory"],
    [cacheBytes / cacheSpeed, "cache"],
  ];
  const [busy, bound] = parts.reduce((most, part) => part[0] > most[0] ? part : most);
  const best = Math.max(device.matrixFlops ?? 0, fmaFlops(device));
  return {
    seconds: device.launchSeconds + busy,
    launch: device.launchSeconds,
    bound: device.launchSeconds > busy ? "launch" : bound,
    floor: Math.max(products / best, flops / fmaFlops(device), memoryBytes / device.copyBytes),
  };
}
