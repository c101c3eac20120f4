/** A step's time on a device, predicted: phase by phase, kernel by kernel, and token by token. */
import type { Device } from "./devices.ts";
import { type Bound, type Cost, costOf } from "./model.ts";
import { ALONE } from "./place.ts";
import type { RecordedStep } from "./plans.ts";
import type { RecordedCall, Recording } from "./record.ts";
import { type PhaseTime, timeline } from "./timeline.ts";
import { workOf } from "./works.ts";

/** A kernel in a phase, at one size. */
export interface KernelTime {
  phase: string;
  /** With its conditions. */
  kernel: string;
  /** What tells its calls apart: sizes and tile. */
  sizes: string;
  calls: number;
  seconds: number;
  launch: number;
  floor: number;
  /** Seconds by what they are spent on. */
  bounds: Partial<Record<Bound, number>>;
}

/** One token of so many rows, each of which sees `held`. */
export interface TokenTime {
  rows: number;
  held: number;
  /** Of the GPU. */
  seconds: number;
  floor: number;
  dispatches: number;
}

export interface Prediction {
  phases: PhaseTime[];
  /** The longest first. */
  kernels: KernelTime[];
  tokens: TokenTime[];
  /** Of decoding where completions end evenly from the first token to the last. */
  endingSeconds: number;
}

/** Constants that are not told: formats and lanes. */
const UNTOLD = new Set(["WG", "FORMAT", "SPAN", "LANES", "BIAS_FORMAT", "PARTIALS", "VECTORS"]);
/** Params that say how large a call is. */
const SIZES = ["rows", "width", "columns", "count", "prefix"];

function sizesOf({ dispatch: { call, workgroups } }: RecordedCall): string {
  const constants = Object.entries(call.constants).filter(([name]) => !UNTOLD.has(name)).map(([, value]) =>
    value
  );
  const params = SIZES.filter((name) => call.params[name] !== undefined)
    .map((name) => `${name} ${call.params[name]}`);
  const tile = constants.length > 0 ? ` by ${constants.join("x")}` : "";
  return `${params.join(" ")}${tile}, ${workgroups[0] * workgroups[1] * workgroups[2]} workgroups`;
}

const costsOf = ({ calls }: Pick<Recording, "calls">, device: Device): Cost[] =>
  calls.map(({ dispatch, seen }) => costOf(workOf(dispatch, seen), device));

function kernelTimes({ calls, events }: Recording, costs: readonly Cost[]): KernelTime[] {
  const sizes = calls.map(sizesOf);
  const kernels = new Map<string, KernelTime>();
  for (const event of events) {
    if (event.type !== "dispatch") continue;
    const { call, phase } = event;
    const { kernel } = calls[call].dispatch;
    const key = `${phase} ${kernel} ${sizes[call]}`;
    let time = kernels.get(key);
    if (!time) {
      const none = { calls: 0, seconds: 0, launch: 0, floor: 0, bounds: {} };
      kernels.set(key, time = { phase, kernel, sizes: sizes[call], ...none });
    }
    const { seconds, launch, floor, bound } = costs[call];
    time.calls++;
    time.seconds += seconds;
    time.launch += launch;
    time.floor += floor;
    time.bounds[bound] = (time.bounds[bound] ?? 0) + seconds;
  }
  return [...kernels.values()].sort((a, b) => b.seconds - a.seconds);
}

/** Tokens at each width: after the prompt, in the middle of a completion, at its end. */
function tokenTimes({ widths, config, prompt }: RecordedStep, device: Device): TokenTime[] {
  const { max_completion_length: most, num_generations: group } = config;
  return widths.flatMap(({ rows, calls }) =>
    [1, Math.ceil(most / 2), most].map((tokens): TokenTime => {
      const seen = { ...ALONE, held: prompt + tokens, prompt, group: Math.min(group, rows) };
      const costs = costsOf({ calls: calls.map(({ dispatch }) => ({ dispatch, seen })) }, device);
      const sum = (of: (cost: Cost) => number) => costs.reduce((total, cost) => total + of(cost), 0);
      return {
        rows,
        held: seen.held,
        seconds: sum(({ seconds }) => seconds),
        floor: sum(({ floor }) => floor),
        dispatches: calls.length,
      };
    })
  );
}

/** @throws Error when a kernel's work is not declared */
export function predict(recorded: RecordedStep, device: Device): Prediction {
  const { step, ending } = recorded;
  const costs = costsOf(step, device);
  const decoding = timeline(ending.events, costsOf(ending, device), device).find(({ name }) =>
    name === "decode"
  );
  return {
    phases: timeline(step.events, costs, device),
    kernels: kernelTimes(step, costs),
    tokens: tokenTimes(recorded, device),
    endingSeconds: decoding ? decoding.busy + decoding.idle : 0,
  };
}

/** What most of a kernel's time is spent on. */
export function mainBound({ bounds }: KernelTime): Bound {
  return (Object.entries(bounds) as [Bound, number][]).reduce((most, own) =>
    own[1] > most[1] ? own : most
  )[0];
}

/** The kernels that take the most beyond the roofline, each size of each phase on its own. */
export function worstLosers(kernels: readonly KernelTime[], count: number): KernelTime[] {
  const lost = ({ seconds, floor }: KernelTime) => seconds - floor;
  return [...kernels].sort((a, b) => lost(b) - lost(a)).slice(0, count);
}
