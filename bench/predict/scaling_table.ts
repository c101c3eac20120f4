/** A prediction for several ranks as text. Pure. */
import { alignColumns, percent, threeDigits } from "../table.ts";
import type { Device } from "./devices.ts";
import type { Interconnect } from "./interconnects.ts";
import { type Mode, type ScaledStep, type Way, WAYS } from "./scaling.ts";

const HEADINGS = [
  "ranks  nodes  completions a rank  compute s  sent GB  exchange s",
  "step s  overlapped s  completions/s  of linear  GB a rank",
].join("  ").split("  ");

const giga = (bytes: number) => threeDigits(bytes / 1e9);

export const stepSeconds = ({ compute, exchange }: ScaledStep) => compute + exchange.seconds;
const overlappedSeconds = (step: ScaledStep) => stepSeconds(step) - step.hidden;
/** Of all ranks, a second. */
const rate = (step: ScaledStep) => step.ranks * step.completions / overlappedSeconds(step);

function cells(step: ScaledStep, alone: ScaledStep, device: Device, link: Interconnect): string[] {
  const { ranks, completions, compute, exchange, bytes, scoreBytes } = step;
  const free = device.memoryBytes - bytes;
  const fits = free >= scoreBytes ? "" : free >= 0 ? " (scores elsewhere)" : " (does not fit)";
  return [
    String(ranks),
    String(Math.ceil(ranks / link.ranksPerNode)),
    String(completions),
    threeDigits(compute),
    giga(exchange.sentBytes),
    threeDigits(exchange.seconds),
    threeDigits(stepSeconds(step)),
    threeDigits(overlappedSeconds(step)),
    threeDigits(rate(step)),
    percent(rate(step) / rate(alone) / ranks),
    giga(bytes) + fits,
  ];
}

const MODES: Readonly<Record<Mode, string>> = {
  weak: "Each rank has a batch of its own: the batch grows with the ranks",
  strong: "The ranks share one batch",
};

const LEGEND = [
  "compute s      of a rank, its kernels and JavaScript: generation, score models, reference, training",
  "sent GB        that a rank sends in a step; as much comes",
  "exchange s     from GPU to host, through MPI, to the GPU, where nothing else goes on meanwhile",
  "overlapped s   the step, where gradients travel while the backward pass that makes the next ones runs",
  "of linear      completions a second beside those of as many ranks that say nothing to each other",
  'GB a rank      planned, of this one\'s weights, gradients, state, reference, keys and values; "scores elsewhere":',
  "               with the two score models behind it does not fit, and scorer_url takes them to another GPU",
  "A prediction, not a measurement: bench/predict/ says from what. Ranks that wait for the slowest are not in it.",
].join("\n");

/** The tables of every way. */
export function scalingTable(
  steps: Readonly<Record<Mode, readonly ScaledStep[]>>,
  { shape, device, link }: { shape: string; device: Device; link: Interconnect },
): string {
  const parts = [`A training step at shape ${shape} on ranks of ${device.title};\n${link.title}`];
  for (const mode of Object.keys(MODES) as Mode[]) {
    parts.push(MODES[mode]);
    for (const way of Object.keys(WAYS) as Way[]) {
      const own = steps[mode].filter((step) => step.way === way);
      parts.push(
        `${WAYS[way]}\n${alignColumns([HEADINGS, ...own.map((step) => cells(step, own[0], device, link))])}`,
      );
    }
  }
  return [...parts, LEGEND].join("\n\n");
}
