/** One training step of the same model: ours, plain tfjs ops and @jax-js/jax on the same device, PyTorch on the CPU. */
import { trimPool } from "../src/gpu/pool.ts";
import { settle } from "../src/gpu/queue.ts";
import { openGpu } from "../src/gpu/device.ts";
import { countBuffers } from "../src/gpu/memory.ts";
import { summarize, type Timing } from "./measure.ts";
import { type PeerChoice, wantsPeer } from "./peers/choice.ts";
import { ours } from "./peers/ours.ts";
import { plainTfjs } from "./peers/plain_tfjs.ts";
import { torchTrainee } from "./peers/torch.ts";
import { MODEL_15M, MODEL_TINY, parametersOf, type PeerTask, peerTask, type Trainee } from "./peers/task.ts";
import { showProgress } from "./progress.ts";
import { type Skipped, skippedFor } from "./table.ts";
import { inTurn, secondsOf } from "./wall_clock.ts";

/** What a trainee computes, before anything is timed. */
export interface TrainCheck {
  /** Before the first step, and after it. */
  meanLogprobs: readonly [number, number];
  /** Of the first two steps. */
  gradNorms: readonly [number, number];
}

export interface TraineeReport {
  name: string;
  check: TrainCheck;
  timing: Timing;
  /** Most bytes of GPU buffers that it held at once; null where it computes elsewhere. */
  peakBytes: number | null;
}

export interface TrainReport {
  parameters: number;
  rows: number;
  length: number;
  trainees: TraineeReport[];
  /** Peers that this device cannot run, and why. */
  skipped: Skipped[];
}

/** Relative, of every number of a check: f32 sums in another order. */
const AGREEMENT = 1e-3;

async function runCheck(trainee: Trainee): Promise<TrainCheck> {
  const before = await trainee.meanLogprob();
  const first = await trainee.step();
  const after = await trainee.meanLogprob();
  return { meanLogprobs: [before, after], gradNorms: [first, await trainee.step()] };
}

/** A peer that runs and computes something else. */
class DisagreementError extends Error {}

const numbersOf = ({ meanLogprobs, gradNorms }: TrainCheck): [what: string, value: number][] => [
  ["mean log-prob", meanLogprobs[0]],
  ["mean log-prob after a step", meanLogprobs[1]],
  ["gradient norm", gradNorms[0]],
  ["gradient norm of the second step", gradNorms[1]],
];

/** @throws DisagreementError when a peer computes something else: its time would mean nothing */
export function assertAgreement(own: TrainCheck, peer: TrainCheck, name: string): void {
  const wanted = numbersOf(own);
  for (const [i, [what, value]] of numbersOf(peer).entries()) {
    const [, ours] = wanted[i];
    if (Math.abs(value - ours) <= AGREEMENT * Math.abs(ours)) continue;
    throw new DisagreementError(
      `Not timed: ${name} gives a ${what} of ${value}, this project ${ours}; they must agree to ${AGREEMENT}`,
    );
  }
}

interface Entrant {
  trainee: Trainee;
  check: TrainCheck;
  peakBytes: number | null;
}

/** @throws DisagreementError when it computes something else than the first; it is disposed of then */
async function checkedTrainee(trainee: Trainee, first: Entrant | undefined): Promise<TrainCheck> {
  try {
    const check = await runCheck(trainee);
    if (first) assertAgreement(first.check, check, trainee.name);
    return check;
  } catch (error) {
    trainee.dispose();
    throw error;
  }
}

/** Makes a trainee, holds it against the first, and counts its memory while it is alone. */
async function enter(
  make: () => Promise<Trainee>,
  first: Entrant | undefined,
  device: GPUDevice,
): Promise<Entrant> {
  trimPool();
  await settle();
  const createBuffer = device.createBuffer;
  const memory = countBuffers(device);
  try {
    const trainee = await make();
    const check = await checkedTrainee(trainee, first);
    return { trainee, check, peakBytes: trainee.usesDevice === false ? null : memory().peakBytes };
  } finally {
    device.createBuffer = createBuffer;
  }
}

type Maker = [name: string, make: () => Promise<Trainee>];

function makersOf(
  task: PeerTask,
  { peer, python }: Pick<TrainOptions, "peer" | "python">,
  device: GPUDevice,
): Maker[] {
  const tfjs: Maker = ["plain tfjs", () => plainTfjs(task)];
  const jax: Maker = ["@jax-js/jax", async () => (await import("./peers/jax_js.ts")).jaxJs(task, device)];
  const torch: Maker = ["torch", () => torchTrainee(task, python)];
  return [
    ["this project", () => ours(task)],
    ...(wantsPeer(peer, "tfjs") ? [tfjs] : []),
    ...(wantsPeer(peer, "jax") ? [jax] : []),
    ...(wantsPeer(peer, "torch") ? [torch] : []),
  ];
}

/** Makes all trainees; a peer that cannot run here is left out. @throws DisagreementError when one errs */
async function enterAll(makers: Maker[], device: GPUDevice) {
  const entrants: Entrant[] = [];
  const skipped: TrainReport["skipped"] = [];
  for (const [name, make] of makers) {
    showProgress(`${name}: two steps, held against this project's`);
    try {
      entrants.push(await enter(make, entrants[0], device));
    } catch (error) {
      if (entrants.length === 0 || error instanceof DisagreementError) throw error;
      skipped.push(skippedFor(name, error));
    }
  }
  return { entrants, skipped };
}

export interface TrainOptions {
  repeats: number;
  peer: PeerChoice;
  /** The Python that may have PyTorch. */
  python: string;
  /** A model of a few thousand parameters, to see whether all of it runs. */
  isTiny: boolean;
}

/**
 * Races the trainees.
 * @throws DisagreementError when two of them do not compute the same
 */
export async function benchTraining(options: TrainOptions): Promise<TrainReport> {
  const { repeats, isTiny } = options;
  const { device } = await openGpu();
  const task = isTiny ? peerTask(MODEL_TINY, 4, 16) : peerTask(MODEL_15M, 8, 256);
  const { rows, length } = task;
  const { entrants, skipped } = await enterAll(makersOf(task, options, device), device);
  const samples = await inTurn(entrants, repeats, ({ trainee }, round) => {
    showProgress(`step ${round + 1} of ${repeats}: ${trainee.name}`);
    return secondsOf(() => trainee.step());
  });
  showProgress("");
  const trainees = entrants.map(({ trainee, check, peakBytes }, e) => {
    trainee.dispose();
    return { name: trainee.name, check, peakBytes, timing: summarize(samples[e], 1) };
  });
  return { parameters: parametersOf(task), rows, length, trainees, skipped };
}
