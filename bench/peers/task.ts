/** One model, one batch and one optimizer, for every trainee alike: the same weights, tokens and advantages. */
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { groupAdvantagesF64 } from "../../src/rl/advantages.ts";
import { sequenceWeights } from "../../src/rl/loss_weights.ts";
import { randomFloats, randomInts } from "../../test/cases/case.ts";
import { type LlamaShape, llamaShapes } from "../random_llama.ts";
import { SHAPES } from "../shapes.ts";

export interface HostTensor {
  shape: number[];
  values: Float32Array;
}

export interface PeerTask {
  /** With as many key heads as query heads. */
  shape: LlamaShape;
  /** B */
  rows: number;
  /** T: tokens of a row that are read, and that are predicted. */
  length: number;
  /** By their names in a Hugging Face checkpoint. */
  weights: ReadonlyMap<string, HostTensor>;
  /** [B*T] tokens read; target t of a row follows token t. */
  ids: Int32Array;
  targets: Int32Array;
  /** [B] */
  rewards: Float64Array;
  /** [B]: advantage times weight in the loss -sum coefficient * log-prob. */
  coefficients: Float32Array;
  config: RunConfig;
}

/** What every trainee does. */
export interface Trainee {
  name: string;
  /** Set to false by one whose memory is not the device's. */
  usesDevice?: boolean;
  /** Mean log-prob of the targets under the weights as they are. */
  meanLogprob(): Promise<number>;
  /** Forward, GRPO loss, backward, clipping, AdamW. @returns the gradient's norm before clipping, read back */
  step(): Promise<number>;
  dispose(): void;
}

/** 15.1M parameters; the logits of 8 rows of 256 tokens are 64 MiB. */
export const MODEL_15M = SHAPES["15m"].shape;
/** For a look at whether it runs. */
export const MODEL_TINY = { hidden: 64, intermediate: 96, layers: 2, heads: 2, kvHeads: 2, vocab: 96 };
const ROPE_THETA = 10000;
export const NORM_EPS = 1e-5;

/** Completions of a group. */
const GROUP = 4;

function randomWeights(shape: LlamaShape): Map<string, HostTensor> {
  return new Map(
    llamaShapes(shape).map(([name, own], i) => {
      const size = own.reduce((a, b) => a * b, 1);
      const values = own.length === 1
        ? new Float32Array(size).fill(1)
        // Uniform, of standard deviation 0.02.
        : Float32Array.from(randomFloats(i + 1, size, 0.02 * Math.sqrt(3)));
      return [name, { shape: own, values }];
    }),
  );
}

export const parametersOf = ({ weights }: PeerTask) =>
  [...weights.values()].reduce((sum, { values }) => sum + values.length, 0);

/** @param rows a multiple of 4 */
export function peerTask(shape: LlamaShape, rows: number, length: number): PeerTask {
  const config: RunConfig = {
    ...defaultConfig(),
    beta: 0,
    learning_rate: 1e-3,
    num_generations: GROUP,
    per_device_train_batch_size: rows,
    gradient_accumulation_steps: 1,
    max_completion_length: length,
    temperature: 1,
  };
  const rewards = randomFloats(7, rows);
  const { advantages } = groupAdvantagesF64(rewards, GROUP, config.scale_rewards);
  const weights = sequenceWeights(config.loss_type, Array(rows).fill(length), {
    microBatchSizes: [rows],
    maxCompletionLength: length,
  });
  const tokens = Array.from({ length: rows }, (_, b) => randomInts(20 + b, length + 1, shape.vocab));
  const joined = (from: number) =>
    Int32Array.from(tokens.flatMap((row) => [...row.subarray(from, from + length)]));
  return {
    shape,
    rows,
    length,
    weights: randomWeights(shape),
    ids: joined(0),
    targets: joined(1),
    rewards,
    coefficients: Float32Array.from(advantages, (advantage, b) => advantage * weights[b]),
    config,
  };
}

/** cos and sin of every position, [T, headDim/2] each. */
export function rotations({ shape, length }: PeerTask): { cos: Float32Array; sin: Float32Array } {
  const half = shape.hidden / shape.heads / 2;
  const angles = Array.from(
    { length: length * half },
    (_, i) => Math.floor(i / half) * ROPE_THETA ** -((i % half) / half),
  );
  return { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
}
