/** Times the phases of one training step of a named shape, each alone, and profiles the kernels of each. */
import * as tf from "@tensorflow/tfjs";
import type { Gpu } from "../src/gpu/device.ts";
import { trimPool } from "../src/gpu/pool.ts";
import { uploadTensor } from "../src/gpu/tensors.ts";
import { type KernelProfile, profileKernels } from "../src/gpu/profile.ts";
import { lmHeadLogprobs } from "../src/ops/head/lm_head_logprobs.ts";
import { createGenerator, type Generator } from "../src/policy/decode/generate.ts";
import { samplingOptions } from "../src/policy/decode/options.ts";
import { HEAD_CHUNK_ROWS } from "../src/policy/transformer.ts";
import { makePassReplays } from "../src/policy/pass_replays.ts";
import { type ScoreModel, scoreSequences } from "../src/policy/score_model.ts";
import { uploadMicroBatch } from "../src/train/micro_batch.ts";
import { optimizerStep } from "../src/train/optimizer.ts";
import { disposeUpdate, prepareUpdate, type TrainedRollout } from "../src/train/prepared_update.ts";
import { updatePolicy } from "../src/train/update.ts";
import { randomFloats } from "../test/cases/case.ts";
import { type Ceilings, measureCeilings } from "./ceilings.ts";
import type { Job } from "./job_model.ts";
import { countTokens, forwardFlops, headFlops } from "./model_flops.ts";
import { type PhaseTiming, timePhase } from "./wall_clock.ts";

export interface PhaseReport {
  name: string;
  /** Tokens that the phase makes or reads. */
  tokens: number;
  timing: PhaseTiming;
  flops: number;
  /** null on a device without timestamps. */
  kernels: KernelProfile[] | null;
}

export interface JobReport {
  phases: PhaseReport[];
  ceilings: Ceilings;
}

interface Phase {
  name: string;
  tokens: number;
  flops: number;
  run(): unknown;
  /** A phase that this one begins with, whose figures are taken off. */
  without?: string;
}

/** Listed, and counted in forward/backward already. */
export const HEAD_PHASE = "of which head";
/** No further run of a phase begins after this time. */
const BUDGET_SECONDS = 10;
/** No token has this id: completions run to their full length, so that every run does the same work. */
const NO_END = [-1];

function generatorOf({ learner, config }: Job, maxTokens: number): Generator {
  return createGenerator(learner.policy, {
    ...samplingOptions(learner.policy, config),
    eosIds: NO_END,
    maxTokens,
  });
}

function passesOf({ learner, rollouts }: Job): TrainedRollout[][] {
  const size = learner.rowsPerPass;
  return Array.from({ length: rollouts.length / size }, (_, i) => rollouts.slice(i * size, (i + 1) * size));
}

/** Log-probs of every completion under the reference policy, as an update begins. */
function runReference({ learner, rollouts, config }: Job): void {
  disposeUpdate(prepareUpdate(learner, rollouts, 1, 1, config));
}

/** The head alone, forward and backward, over the rows that predict completion tokens. */
function runHead(job: Job): void {
  const { learner: { policy }, config, named: { shape } } = job;
  for (const rollouts of passesOf(job)) {
    tf.tidy(() => {
      const { targets } = uploadMicroBatch(rollouts);
      const rows = targets.size;
      const values = Float32Array.from(randomFloats(1, rows * shape.hidden));
      const hidden = tf.tensor2d(values, [rows, shape.hidden]);
      const options = { temperature: config.temperature, chunkRows: HEAD_CHUNK_ROWS };
      const forward = () => lmHeadLogprobs(hidden, policy.weights.head, targets, options)[0];
      tf.engine().gradients(forward, [hidden], tf.ones([rows]), false);
    });
  }
}

/** A score model on the policy's own trunk: as much work as one of its size, without the memory. */
function scoreModelOf({ learner: { policy }, named: { shape } }: Job): ScoreModel {
  const { adapters: _none, ...trunk } = policy;
  const size = [1, shape.hidden];
  const tensor = uploadTensor(Float32Array.from(randomFloats(3, shape.hidden)), size);
  const scoreHead = { name: "score_head.weight", shape: size, format: "f32" as const, tensor, grad: null };
  const raw = { bias: null, label: 0, padId: null, type: "reward" as const, normalizer: null };
  return { trunk, scoreHead, ...raw, replays: makePassReplays() };
}

/** Reward and cost of all completions. */
async function runScore(job: Job, model: ScoreModel): Promise<void> {
  const texts = job.rollouts.map(({ prompt, tokens }) => [...prompt.ids, ...tokens]);
  const size = job.config.scorer_batch_size;
  for (const _type of ["reward", "cost"]) {
    for (let start = 0; start < texts.length; start += size) {
      await scoreSequences(model, texts.slice(start, start + size));
    }
  }
}

/** Forward, backward and optimizer as training does them, without a reference. */
function runUpdate(job: Job): Promise<unknown> {
  const config = { ...job.config, beta: 0 };
  const learner = { ...job.learner, reference: null };
  const prepared = prepareUpdate(learner, job.rollouts, 1, 1, config);
  return updatePolicy(learner, prepared, {
    combined: job.rollouts.map((_, i) => i % 3),
    learningRates: [1e-6],
    config,
  });
}

function phasesOf(
  job: Job,
  score: ScoreModel,
  generators: { prefill: Generator; whole: Generator },
): Phase[] {
  const { named: { shape, promptTokens: P }, config, prompts, rollouts, learner } = job;
  const [B, C] = [rollouts.length, config.max_completion_length];
  const of = (count: number, from: number, to: number, headRows: number) => {
    const counts = countTokens(Array(count).fill({ from, to, headRows }));
    return { tokens: counts.tokens, flops: forwardFlops(shape, counts) };
  };
  const request = { prompts, groupSize: config.num_generations, seed: 1, step: 1 };
  /** Whole sequences whose prompts, but for `own` tokens, are computed once. */
  const shared = (own: number, length: number, headRows: number) => {
    const { flops } = of(B, P - own, length, headRows);
    return { tokens: B * length, flops: flops + of(prompts.length, 0, P - own, 0).flops };
  };
  const training = shared(1, P + C - 1, C);
  const one = shared(0, P + C, 0);
  const scoring = { tokens: 2 * one.tokens, flops: 2 * one.flops };
  // Backward is twice a forward where all weights are trained, else as much as one.
  const passes = config.use_peft ? 2 : 3;
  const update = { tokens: training.tokens, flops: passes * training.flops };
  const head = headFlops(shape, B * C);
  const decode = () => generators.whole.generate(request);
  const step = () => tf.dispose(optimizerStep(learner.optimizer, 1e-6, config));
  return [
    { name: "prefill", ...of(prompts.length, 0, P, 1), run: () => generators.prefill.generate(request) },
    { name: "decode", ...of(B, P, P + C - 1, C - 1), run: decode, without: "prefill" },
    { name: "score", ...scoring, run: () => runScore(job, score) },
    { name: "reference", ...training, run: () => runReference(job) },
    { name: "optimizer", tokens: 0, flops: 0, run: step },
    { name: "forward/backward", ...update, run: () => runUpdate(job), without: "optimizer" },
    { name: HEAD_PHASE, tokens: B * C, flops: passes * head, run: () => runHead(job) },
  ];
}

function kernelsWithout(all: KernelProfile[], part: KernelProfile[]): KernelProfile[] {
  const taken = new Map(part.map((own) => [own.kernel, own]));
  return all.map(({ kernel, calls, seconds, boundBytes }) => {
    const own = taken.get(kernel) ?? { calls: 0, seconds: 0, boundBytes: 0 };
    return {
      kernel,
      calls: calls - own.calls,
      seconds: seconds - own.seconds,
      boundBytes: boundBytes - own.boundBytes,
    };
  }).filter(({ calls }) => calls > 0);
}

/** A phase less the one that it begins with. */
function phaseWithout(whole: PhaseReport, part: PhaseReport): PhaseReport {
  const timing = {
    ...whole.timing,
    seconds: whole.timing.seconds - part.timing.seconds,
    jsSeconds: whole.timing.jsSeconds - part.timing.jsSeconds,
  };
  return { ...whole, timing, kernels: whole.kernels && kernelsWithout(whole.kernels, part.kernels!) };
}

/** Times and profiles every phase. @param onPhase told before each */
export async function runJob(
  job: Job,
  { device }: Gpu,
  { repeats, onPhase }: { repeats: number; onPhase(name: string): void },
): Promise<JobReport> {
  onPhase("the device's ceilings");
  const ceilings = await measureCeilings(device);
  const generators = {
    prefill: generatorOf(job, 1),
    whole: generatorOf(job, job.config.max_completion_length),
  };
  const score = scoreModelOf(job);
  const canProfile = device.features.has("timestamp-query");
  const measured = new Map<string, PhaseReport>();
  const phases: PhaseReport[] = [];
  for (const { name, tokens, flops, run, without } of phasesOf(job, score, generators)) {
    onPhase(name);
    const timing = await timePhase(run, { repeats, budgetSeconds: BUDGET_SECONDS });
    const kernels = canProfile ? await profileKernels(run) : null;
    const whole = { name, tokens, flops, timing, kernels };
    measured.set(name, whole);
    phases.push(without === undefined ? whole : phaseWithout(whole, measured.get(without)!));
    trimPool();
  }
  generators.prefill.dispose();
  generators.whole.dispose();
  score.scoreHead.tensor.dispose();
  return { phases, ceilings };
}
