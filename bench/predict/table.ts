/** A prediction as text. Pure. */
import { alignColumns, milliseconds, NONE, percent, threeDigits } from "../table.ts";
import type { Device } from "./devices.ts";
import { fmaFlops } from "./model.ts";
import { type KernelTime, mainBound, type Prediction, type TokenTime, worstLosers } from "./predict.ts";
import type { PhaseTime } from "./timeline.ts";

export interface PredictedStep {
  shape: string;
  lora: string;
  precision: string;
  /** Tokens that each completion is sampled for after its first. */
  tokenSteps: number;
  rowsPerPass: number;
  recomputesLayers: boolean;
  /** By the memory plan, score models counted. */
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
  "ms at 384 (30%) kernels of a token of so many rows that each see 384; in brackets the floor's share",
  "A prediction, not a measurement: bench/predict/ says from what. Stock ops of tfjs and copies are not counted.",
].join("\n");

/** A token of all rows: widths down, tokens that a row sees across. */
function tokenTable(tokens: readonly TokenTime[]): string {
  const held = [...new Set(tokens.map((token) => token.held))];
  const rows = [...new Set(tokens.map((token) => token.rows))];
  const cell = (token: TokenTime) =>
    `${milliseconds(token.seconds)} (${percent(token.floor / token.seconds)})`;
  return alignColumns([
    ["rows of a token", ...held.map((count) => `ms at ${count}`), "dispatches"],
    ...rows.map((count) => {
      const own = tokens.filter((token) => token.rows === count);
      return [String(count), ...own.map(cell), String(own[0].dispatches)];
    }),
  ]);
}

/** Phases of bench --job, and those here that they are made of. */
const MEASURED_AS: Readonly<Record<string, string[]>> = {
  prefill: ["prefill"],
  decode: ["decode"],
  score: ["score"],
  reference: ["reference"],
  optimizer: ["optimizer"],
  "forward/backward": ["forward", "recompute", "backward"],
};

/** @param measured seconds of a phase, on this very device; null: not measured there */
function measuredTable(phases: readonly PhaseTime[], measured: ReadonlyMap<string, number> | null): string {
  if (!measured) return "measured there: not yet";
  return alignColumns([
    ["phase", "measured ms", "predicted ms", "measured / predicted"],
    ...Object.entries(MEASURED_AS).filter(([name]) => measured.has(name)).map(([name, parts]) => {
      const own = phases.filter((phase) => parts.includes(phase.name));
      const predicted = sumOf(own, ({ busy, idle }) => busy + idle);
      const seconds = measured.get(name)!;
      return [name, milliseconds(seconds), milliseconds(predicted), threeDigits(seconds / predicted)];
    }),
  ]);
}

function decodeText({ phases, endingSeconds }: Prediction, { tokenSteps }: PredictedStep): string {
  const decode = phases.find(({ name }) => name === "decode");
  if (!decode) return "nothing is decoded";
  const seconds = decode.busy + decode.idle;
  return [
    `decode: ${milliseconds(seconds / tokenSteps)} ms and ${
      threeDigits(decode.dispatches / tokenSteps)
    } dispatches a token of all rows, JavaScript counted; where completions end evenly from the first`,
    `token to the last, ${threeDigits(endingSeconds)} s instead of ${threeDigits(seconds)}`,
  ].join("\n");
}

/** @param measured as of measuredTable */
export function predictionTable(
  prediction: Prediction,
  device: Device,
  step: PredictedStep,
  measured: ReadonlyMap<string, number> | null,
): string {
  const { phases, kernels, tokens } = prediction;
  return [
    `One training step at shape ${step.shape}, adapters ${step.lora}, products in ${step.precision}, ` +
    `${step.rowsPerPass} completions a pass,${step.recomputesLayers ? " layers run again," : ""} on`,
    deviceText(device),
    `memory: ${threeDigits(step.peakBytes / 1e9)} GB planned, two score models counted, of ${
      threeDigits(device.memoryBytes / 1e9)
    }${step.peakBytes > device.memoryBytes ? ": it does not fit, and what follows is as if it did" : ""}`,
    "",
    phaseTable(phases),
    "",
    decodeText(prediction, step),
    "",
    tokenTable(tokens),
    "",
    kernelTable(kernels, phases),
    "",
    loserTable(kernels),
    "",
    measuredTable(phases, measured),
    "",
    LEGEND,
  ].join("\n");
}
