/** What a training step costs as it grows: against tokens a row, rows, and parameters, with a line through each. */
import { openGpu } from "../src/gpu/device.ts";
import { fitLine, type Line } from "./fit.ts";
import { ours } from "./peers/ours.ts";
import { parametersOf, type PeerTask, peerTask, type Trainee } from "./peers/task.ts";
import { showProgress } from "./progress.ts";
import type { LlamaShape } from "./random_llama.ts";
import { alignColumns, milliseconds, threeDigits } from "./table.ts";
import { inTurn, secondsOf } from "./wall_clock.ts";

export interface Point {
  x: number;
  /** Of the fastest step: what the work costs, whatever else the machine did meanwhile. */
  seconds: number;
}

export interface Curve {
  /** What grows, and what stays. */
  name: string;
  points: Point[];
  line: Line;
}

const BASE: LlamaShape = { hidden: 128, intermediate: 352, layers: 2, heads: 4, kvHeads: 4, vocab: 1024 };

interface Sweep {
  name: string;
  tasks(): PeerTask[];
  x(task: PeerTask): number;
}

const SWEEPS: readonly Sweep[] = [
  {
    name: "tokens a row (8 rows)",
    tasks: () => [16, 32, 48, 64, 80, 96].map((length) => peerTask(BASE, 8, length)),
    x: ({ length }) => length,
  },
  {
    name: "rows (of 32 tokens)",
    tasks: () => [4, 8, 12, 16, 20, 24].map((rows) => peerTask(BASE, rows, 32)),
    x: ({ rows }) => rows,
  },
  {
    name: "thousands of parameters (1 to 6 layers; 8 rows of 32 tokens)",
    tasks: () => [1, 2, 3, 4, 5, 6].map((layers) => peerTask({ ...BASE, layers }, 8, 32)),
    x: (task) => parametersOf(task) / 1000,
  },
];

async function sweepPoints({ tasks, x }: Sweep, repeats: number): Promise<Point[]> {
  const all = tasks();
  const trainees: Trainee[] = [];
  for (const task of all) {
    const trainee = await ours(task);
    await trainee.step();
    trainees.push(trainee);
  }
  const samples = await inTurn(trainees, repeats, (trainee) => secondsOf(() => trainee.step()));
  trainees.forEach((trainee) => trainee.dispose());
  return all.map((task, t) => ({ x: x(task), seconds: Math.min(...samples[t]) }));
}

/** Measures all curves. */
export async function benchCurves(repeats: number): Promise<Curve[]> {
  await openGpu();
  const curves: Curve[] = [];
  for (const sweep of SWEEPS) {
    showProgress(`a step against ${sweep.name}`);
    const points = await sweepPoints(sweep, repeats);
    const line = fitLine(points.map(({ x }) => x), points.map(({ seconds }) => seconds));
    curves.push({ name: sweep.name, points, line });
  }
  showProgress("");
  return curves;
}

function curveText({ name, points, line }: Curve): string {
  const { slope, intercept, r2, residuals } = line;
  const signed = (value: number) => `${value < 0 ? "-" : "+"}${threeDigits(Math.abs(value))}`;
  const rows = points.map(({ x, seconds }, i) => [
    threeDigits(x),
    milliseconds(seconds),
    signed(residuals[i] * 1000),
    `${signed(100 * residuals[i] / seconds)}%`,
  ]);
  return [
    `a step against ${name}`,
    `ms = ${milliseconds(intercept)} ${slope < 0 ? "-" : "+"} ${milliseconds(Math.abs(slope))} x, R^2 ${
      r2.toFixed(4)
    }`,
    alignColumns([["x", "ms", "residual", ""], ...rows]),
  ].join("\n");
}

/** The curves with their lines and residuals, as text. Pure. */
export function curvesText(title: string, curves: readonly Curve[]): string {
  const { hidden, intermediate, layers, vocab } = BASE;
  const model = `Llama ${hidden} wide, MLP ${intermediate}, ${layers} layers, ${vocab} tokens`;
  return [
    title,
    `one training step (forward, loss, backward, AdamW) of a ${model}; the fastest of each point; ` +
    "all points of a curve in turn",
    ...curves.map((curve) => `\n${curveText(curve)}`),
  ].join("\n");
}
