/**
 * Trains the embedded models of models/quickstart on the corpus of this folder, with the project's own kernels:
 * the policy by maximum likelihood on answers half of which are unsafe, the reward and cost models by regression.
 *
 *   node --import tsx scripts/quickstart/train_models.ts [policy|reward|cost|cost_tone]...
 *
 * Cost on 2 CPU cores of software WebGPU: see the lines it prints (steps/s and seconds left).
 */
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import * as tf from "@tensorflow/tfjs";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { f32ToBytes } from "../../src/io/tensors/dtype.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { makeTrunk, policyLogprobs, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { bucketRows, packSequences } from "../../src/policy/packing.ts";
import {
  endScores,
  lastTokenRows,
  listScoreWeights,
  loadScoreModel,
  type ScoreModel,
} from "../../src/policy/score_model.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { listWeights, loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";
import { formatConversation, formatPrompt } from "../../src/rl/conversation.ts";
import { learningRate } from "../../src/rl/schedules.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { createOptimizer, optimizerStep } from "../../src/train/optimizer.ts";
import { listRequests, policyRows, type Random, type ScoreRow, scoreRows, seededRandom } from "./corpus.ts";
import {
  LAYERS,
  POLICY_RECIPE,
  policyConfig,
  type Recipe,
  SCORE_RECIPES,
  scoreConfig,
  type ScoreModelName,
} from "./recipe.ts";

const MODELS = new URL("../../models/quickstart/", import.meta.url).pathname;
const ADAM = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0, max_grad_norm: 1 };

/** Normal with the given deviation (Box-Muller). */
function gaussian(random: Random, count: number, deviation: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return radius * Math.cos(2 * Math.PI * random()) * deviation;
  });
}

/**
 * Fresh weights: norms 1, biases 0, embedding 0.1, heads 0.02, matrices normal with 1/sqrt(inputs), those that write
 * to the residual stream divided by sqrt(2 layers) besides (GPT-2's rule).
 */
function freshWeights(seed: number, shapeOf: (name: string) => readonly number[] | undefined): WeightSource {
  const random = seededRandom(seed);
  return hostSource({
    path: "fresh weights",
    shapeOf,
    read(name) {
      const shape = shapeOf(name)!;
      const count = shape.reduce((a, b) => a * b, 1);
      if (name.includes("norm")) return Promise.resolve(new Float32Array(count).fill(1));
      if (name.endsWith("bias")) return Promise.resolve(new Float32Array(count));
      return Promise.resolve(gaussian(random, count, deviationOf(name, shape[1])));
    },
  });
}

function deviationOf(name: string, inputs: number): number {
  if (name.includes("embed_tokens")) return 0.1;
  if (/lm_head|score_head/.test(name)) return 0.02;
  return 1 / Math.sqrt(inputs * (/o_proj|down_proj/.test(name) ? 2 * LAYERS : 1));
}

/** Shapes of a Llama of the given config by tensor name. */
function shapesOf(configText: string): (name: string) => readonly number[] | undefined {
  const config = parseModelConfig(configText, "recipe");
  const { hiddenSize: D, intermediateSize: F, heads, kvHeads, headDim, vocabSize: V } = config;
  return (name) => {
    if (/embed_tokens|lm_head/.test(name)) return [V, D];
    if (name === "score_head.weight") return [1, D];
    if (name === "score_head.bias") return [1];
    if (name.includes("norm")) return [D];
    if (name.includes("q_proj")) return [heads * headDim, D];
    if (/k_proj|v_proj/.test(name)) return [kvHeads * headDim, D];
    if (name.includes("o_proj")) return [D, heads * headDim];
    if (/gate_proj|up_proj/.test(name)) return [F, D];
    if (name.includes("down_proj")) return [D, F];
    return undefined;
  };
}

interface SupervisedTask<Row> {
  name: string;
  rows: readonly Row[];
  weights: Weight[];
  recipe: Recipe;
  /** Adds the batch's gradients into the weights; returns the batch's loss as a scalar tensor. */
  backward(batch: readonly Row[]): tf.Tensor;
}

/** Epochs of AdamW with a cosine schedule. Prints loss and time left. */
async function train<Row>({ name, rows, weights, recipe, backward }: SupervisedTask<Row>): Promise<void> {
  const optimizer = createOptimizer(weights);
  const perEpoch = Math.floor(rows.length / recipe.batchSize);
  const total = Math.min(recipe.steps, perEpoch * 1000);
  const began = performance.now();
  let recent = 0;
  for (let step = 0; step < total; step++) {
    const start = (step % perEpoch) * recipe.batchSize;
    const rate = learningRate(step, {
      learning_rate: recipe.learningRate,
      lr_scheduler_type: "linear",
      warmup_steps: recipe.warmupSteps,
      total_steps: total,
    });
    const loss = tf.tidy(() => backward(rows.slice(start, start + recipe.batchSize)));
    optimizerStep(optimizer, rate, ADAM).dispose();
    const value = (await readFloats(loss))[0];
    loss.dispose();
    recent = step === 0 ? value : 0.95 * recent + 0.05 * value;
    if (step % 20 === 0 || step === total - 1) {
      const perStep = (performance.now() - began) / 1000 / (step + 1);
      console.log(
        `${name} ${step + 1}/${total} loss ${recent.toFixed(4)} ${(1 / perStep).toFixed(2)} steps/s, ${
          Math.round((total - step) * perStep)
        } s left`,
      );
    }
  }
}

/** f16 on disk: what the quickstart ships. */
async function save(dir: string, weights: readonly Weight[], configText: string): Promise<void> {
  const tensors = [];
  for (const { name, shape, tensor } of weights) {
    tensors.push({ name, shape, dtype: "F16" as const, bytes: f32ToBytes(await readFloats(tensor), "F16") });
  }
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
  await writeFileAtomic(join(dir, "config.json"), configText);
}

async function trainPolicy(tokenizer: Tokenizer): Promise<void> {
  const configText = `${JSON.stringify(policyConfig(tokenizer), null, 2)}\n`;
  const config = parseModelConfig(configText, "recipe");
  const policy: Policy = makeTrunk(
    config,
    await loadPolicyWeights(freshWeights(1, shapesOf(configText)), config, "float32"),
  );
  const rows = policyRows(1).map(({ prompt, response }) => ({
    prompt: { ids: [tokenizer.bosId!, ...tokenizer.encodeWithoutSpecial(formatPrompt(prompt))] },
    tokens: [...tokenizer.encodeWithoutSpecial(response), tokenizer.eosId],
  }));
  const backward = (batch: typeof rows) => {
    const micro = uploadMicroBatch(batch);
    const count = batch.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const forward = () => policyLogprobs(policy, micro.sequences, { ...micro, temperature: 1 })[0];
    const dy = tf.fill([micro.targets.size], -1 / count);
    const { value } = tf.engine().gradients(forward, [policy.root], dy, false);
    return tf.div(tf.sum(value), -count);
  };
  await train({
    name: "policy",
    rows,
    weights: listWeights(policy.weights),
    recipe: POLICY_RECIPE,
    backward,
  });
  await save(join(MODELS, "policy"), listWeights(policy.weights), configText);
}

/** Mean squared error of the end scores, differentiated by tfjs's own ops down to the score. */
function scoreBackward(model: ScoreModel, batch: readonly { ids: number[]; target: number }[]): tf.Tensor {
  const packed = packSequences(batch.map(({ ids }) => ids));
  const sequences = uploadSequences(packed);
  const lasts = lastTokenRows(packed);
  const targets = new Float32Array(bucketRows(batch.length));
  batch.forEach(({ target }, i) => targets[i] = target);
  const mask = Float32Array.from(targets, (_, i) => i < batch.length ? 1 / batch.length : 0);
  const forward = () => {
    const error = tf.sub(endScores(model, sequences, lasts).flatten(), tf.tensor1d(targets));
    return tf.sum(tf.mul(tf.square(error), tf.tensor1d(mask)));
  };
  return tf.engine().gradients(forward, [model.trunk.root], tf.scalar(1), false).value;
}

/** The body of one source under the score head of another. */
function withHeadOf(body: WeightSource, head: WeightSource): WeightSource {
  const sourceOf = (name: string) => name.startsWith("score_head") ? head : body;
  return hostSource({
    path: body.path,
    shapeOf: (name) => sourceOf(name).shapeOf(name),
    read: (name) => sourceOf(name).read(name),
  });
}

/** What each score model learns to say of an answer, and the seed of its head. */
const TARGETS: Readonly<Record<ScoreModelName, { seed: number; of(row: ScoreRow): number }>> = {
  reward: { seed: 2, of: ({ reward }) => reward },
  cost: { seed: 3, of: ({ cost }) => cost },
  cost_tone: { seed: 4, of: ({ tone }) => tone },
};

async function trainScoreModel(tokenizer: Tokenizer, name: ScoreModelName): Promise<void> {
  const type = name === "reward" ? "reward" : "cost";
  const target = TARGETS[name];
  const configText = `${JSON.stringify(scoreConfig(tokenizer, type), null, 2)}\n`;
  const config = parseScoreConfig(configText, "recipe");
  const fresh = freshWeights(target.seed, shapesOf(configText));
  // A score model starts where the policy has learned to write: so it soon sees what an answer is about.
  const folder = await openModelFolder(join(MODELS, "policy"));
  const model = await loadScoreModel(withHeadOf(folder.source, fresh), config, { holding: "float32" });
  await folder.close();
  const weights = listScoreWeights(model);
  const toSample = (row: ScoreRow) => ({
    ids: [
      tokenizer.bosId!,
      ...tokenizer.encodeWithoutSpecial(formatConversation(row.prompt, row.response)),
      tokenizer.eosId,
    ],
    target: target.of(row),
  });
  const rows = scoreRows(2, listRequests().train).map(toSample);
  await train({
    name,
    rows,
    weights,
    recipe: SCORE_RECIPES[name],
    backward: (batch) => scoreBackward(model, batch),
  });
  await save(join(MODELS, name), weights, configText);
}

await openGpu();
const wanted = process.argv.slice(2);
const isWanted = (name: string) => wanted.length === 0 || wanted.includes(name);
const tokenizer = await loadTokenizer(join(MODELS, "policy"));
await readFile(join(MODELS, "train_prompts.jsonl")); // the data comes first: build_data.ts
if (isWanted("policy")) await trainPolicy(tokenizer);
if (isWanted("reward")) await trainScoreModel(tokenizer, "reward");
if (isWanted("cost")) await trainScoreModel(tokenizer, "cost");
if (isWanted("cost_tone")) await trainScoreModel(tokenizer, "cost_tone");
await closeGpu();
process.exit();
