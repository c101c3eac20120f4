/** A prediction as text. Pure. */
import { alignColumns, milliseconds, NONE, percent, threeDigits } from "../table.ts";
import type { Device } from "./devices.ts";
import { fmaFlops } from "./model.ts";
import { type KernelTime, mainBound, type Prediction, worstLosers } from "./predict.ts";
import type { PhaseTime } from "./timeline.ts";

export interface PredictedStep {
  shape: string;
  lora: string;
  precision: string;
  /** Tokens that each completion is sampled for after its first. */
  tokenSteps: number;
  rowsPerPass: number;
  peakBytes: number;
}

const LOSERS = 10;
const tera = (value: number) => threeDigits(value / 1e12);
const sumOf = <T>(parts: readonly T[], of: (part: T) => number) =>
  parts.reduce((sum, part) => sum + of(part), 0);

function deviceText(device: Device): string {
  const matrix = device.matrixFlops === null ? "none" : `${tera(device.matrixFlops)} TFLOP/s`;
  return `${device.title}: f32 ${tera(fmaFlops(device))} TFLOP/s, matrix units ${matrix}, copy ${
    tera(device.copyBytes)
  } TB/s, shared cache ${tera(device.cacheBytes)} TB/s`;
}

function phaseCells({ name, busy, idle, js, launch, floor, dispatches, made, submits }: PhaseTime): string[] {
  const seconds = busy + idle;
  return [
    name,
    threeDigits(seconds),
    threeDigits(floor),
    percent(floor / seconds),
    threeDigits(idle),
    threeDigits(launch),
    threeDigits(js),
    String(dispatches),
    String(made),
    String(submits),
  ];
}

const PHASE_HEADINGS =
  "phase  s  floor s  of roofline  waits for JS s  launches s  JS s  dispatches  not replayed  submits"
    .split("  ");

function phaseTable(phases: readonly PhaseTime[]): string {
  const total = { name: "step" } as PhaseTime;
  for (const part of ["busy", "idle", "js", "launch", "floor", "dispatches", "made", "submits"] as const) {
    total[part] = sumOf(phases, (phase) => phase[part]);
  }
  return alignColumns([PHASE_HEADINGS, ...phases.map(phaseCells), phaseCells(total)]);
}

/** Of all sizes, kernel by kernel. */
function kernelTable(kernels: readonly KernelTime[], phases: readonly PhaseTime[]): string {
  const names = [...new Set(kernels.map(({ kernel }) => kernel))];
  const rows = names.map((name) => {
    const own = kernels.filter(({ kernel }) => kernel === name);
    return { name, own, seconds: sumOf(own, ({ seconds }) => seconds) };
  }).sort((a, b) => b.seconds - a.seconds);
  const total = sumOf(rows, ({ seconds }) => seconds);
  const inPhase = (own: readonly KernelTime[], { name }: PhaseTime) => {
    const seconds = sumOf(own.filter(({ phase }) => phase === name), ({ seconds }) => seconds);
    return seconds === 0 ? NONE : threeDigits(seconds);
  };
  return alignColumns([
    ["kernel", "calls", "s", "share", "of roofline", ...phases.map(({ name }) => name)],
    ...rows.map(({ name, own, seconds }) => [
      name,
      String(sumOf(own, ({ calls }) => calls)),
      threeDigits(seconds),
      percent(seconds / total),
      percent(sumOf(own, ({ floor }) => floor) / seconds),
      ...phases.map((phase) => inPhase(own, phase)),
    ]),
  ]);
}

function loserTable(kernels: readonly KernelTime[]): string {
  return alignColumns([
    ["lost s", "of s", "us a call", "bound by", "phase", "kernel"],
    ...worstLosers(kernels, LOSERS).map((loser) => [
      threeDigits(loser.seconds - loser.floor),
      threeDigits(loser.seconds),
      threeDigits(loser.seconds / loser.calls * 1e6),
      mainBound(loser),
      loser.phase,
      `${loser.kernel} (${loser.sizes})`,
    ]),
  ]);
}

const LEGEND = [
  "s               of the GPU: its kernels, and where it waits for JavaScript",
  "floor s         each kernel's products at the best unit's ceiling, its other operations at the f32 ceiling, or its",
  "                memory at the copy ceiling, whichever is longest",
  "launches s      of the GPU, between kernels that depend on each other",
  "not replayed    dispatches that JavaScript made, outside of plans or to record one",
  "lost s          seconds beyond the floor, of all calls of one kernel at one size in one phase",
  "bound by        memory, cache (between shared cache and cores), issue of instructions, memory path of a core (loads",
  "                and stores of a subgroup that lie apart, workgroup memory), matrix units, waiting (loads that",
  "                nothing hides, in workgroups that run alone), launch",
  "A prediction, not a measurement: bench/predict/ says from what.",
].join("\n");

/** @param measured what is known of the device itself */
export function predictionTable(
  { phases, kernels }: Prediction,
  device: Device,
  step: PredictedStep,
  measured: string,
): string {
  const decode = phases.find(({ name }) => name === "decode");
  const perToken = decode
    ? `a token of all rows: ${milliseconds((decode.busy + decode.idle) / step.tokenSteps)} ms, ${
      threeDigits(decode.dispatches / step.tokenSteps)
    } dispatches`
    : "";
  return [
    `One training step at shape ${step.shape}, adapters ${step.lora}, products in ${step.precision}, ` +
    `${step.rowsPerPass} completions a pass, on`,
    deviceText(device),
    `memory planned ${threeDigits(step.peakBytes / 1e9)} GB of ${
      threeDigits(device.memoryBytes / 1e9)
    }, two score models ` +
    "counted",
    "",
    phaseTable(phases),
    perToken,
    "",
    kernelTable(kernels, phases),
    "",
    loserTable(kernels),
    "",
    measured,
    "",
    LEGEND,
  ].join("\n");
}
