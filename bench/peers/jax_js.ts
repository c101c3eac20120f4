/** The trainee in @jax-js/jax: the whole step under jit. Arrays are owned: `.ref` where one is used again. */
import { jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { awaitGpu } from "../../src/gpu/device.ts";
import { initJax } from "./jax_device.ts";
import { NORM_EPS, type PeerTask, rotations, type Trainee } from "./task.ts";

type Params = Record<string, np.Array>;
/** What does not change from step to step: ids and targets [B,T], coefficients [B,1], cos and sin [T,1,headDim/2]. */
type Batch = Record<"ids" | "targets" | "coefficients" | "cos" | "sin", np.Array>;
interface State {
  params: Params;
  first: Params;
  second: Params;
}

function rmsNorm(x: np.Array, weight: np.Array): np.Array {
  const meanSquare = np.square(x.ref).mean(-1, { keepdims: true });
  return x.mul(np.reciprocal(np.sqrt(meanSquare.add(NORM_EPS)))).mul(weight);
}

/** y = x W^T */
const project = (x: np.Array, weight: np.Array) => np.matmul(x, weight.transpose());

/** @param x [B,T,H,headDim] */
function rotate(x: np.Array, cos: np.Array, sin: np.Array): np.Array {
  const [a, b] = np.split(x, 2, -1);
  return np.concatenate([
    a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref)),
    b.mul(cos).add(a.mul(sin)),
  ], -1);
}

/**
 * Causal attention over [B,T,H,headDim], the products as einsum would lower them: jax-js's own dotProductAttention
 * needs the iterator helpers of Node 22.
 */
function attend(q: np.Array, k: np.Array, v: np.Array): np.Array {
  const [length, headDim] = [q.shape[1], q.shape[3]];
  const [qh, kt, vh] = [q.transpose([0, 2, 1, 3]), k.transpose([0, 2, 3, 1]), v.transpose([0, 2, 1, 3])];
  const scores = np.matmul(qh, kt).mul(headDim ** -0.5);
  const sees = np.tri(length, length, 0, { dtype: np.bool });
  const weights = nn.softmax(np.where(sees, scores, -Infinity), -1);
  return np.matmul(weights, vh).transpose([0, 2, 1, 3]);
}

/** Log-probs of the targets, [B,T]. Takes ownership of all. */
function logprobs(
  { shape, rows, length }: PeerTask,
  params: Params,
  batch: Omit<Batch, "coefficients">,
): np.Array {
  const { hidden, heads, layers } = shape;
  const { ids, targets, cos, sin } = batch;
  const take = (name: string) => params[`${name}.weight`];
  const split = (x: np.Array) => x.reshape([rows, length, heads, hidden / heads]);
  let x = np.take(take("model.embed_tokens"), ids, 0);
  for (let l = 0; l < layers; l++) {
    const weight = (name: string) => take(`model.layers.${l}.${name}`);
    const normed = rmsNorm(x.ref, weight("input_layernorm"));
    const q = rotate(split(project(normed.ref, weight("self_attn.q_proj"))), cos.ref, sin.ref);
    const k = rotate(split(project(normed.ref, weight("self_attn.k_proj"))), cos.ref, sin.ref);
    const v = split(project(normed, weight("self_attn.v_proj")));
    const context = attend(q, k, v).reshape([rows, length, hidden]);
    x = x.add(project(context, weight("self_attn.o_proj")));
    const mlpInput = rmsNorm(x.ref, weight("post_attention_layernorm"));
    const gate = nn.silu(project(mlpInput.ref, weight("mlp.gate_proj")));
    x = x.add(project(gate.mul(project(mlpInput, weight("mlp.up_proj"))), weight("mlp.down_proj")));
  }
  cos.dispose();
  sin.dispose();
  const logits = project(rmsNorm(x, take("model.norm")), take("lm_head"));
  // jit fuses the choice into the sum; nn.oneHot would make a [V,V] matrix first.
  const tokens = np.arange(shape.vocab).reshape([1, 1, shape.vocab]);
  const chosen = tokens.equal(targets.reshape([rows, length, 1]));
  return np.where(chosen, nn.logSoftmax(logits, -1), 0).sum(-1);
}

/** AdamW of one parameter. @param corrections [2]: 1 - beta^step of both moments */
function adamStep(
  { config }: PeerTask,
  state: Record<"weight" | "first" | "second" | "grad", np.Array>,
  corrections: np.Array[],
) {
  const { adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon, learning_rate: rate } = config;
  const { weight, grad } = state;
  const first = state.first.mul(beta1).add(grad.ref.mul(1 - beta1));
  const second = state.second.mul(beta2).add(np.square(grad).mul(1 - beta2));
  const root = np.sqrt(second.ref.div(corrections[1])).add(epsilon);
  return { weight: weight.sub(first.ref.div(corrections[0]).div(root).mul(rate)), first, second };
}

function makeStep(task: PeerTask) {
  const loss = (params: Params, { coefficients, ...batch }: Batch) =>
    logprobs(task, params, batch).mul(coefficients).sum().neg();
  const lossAndGrad = valueAndGrad(loss);
  return jit(
    (state: { params: Params; first: Params; second: Params }, corrections: np.Array[], batch: Batch) => {
      const [value, grads] = lossAndGrad(tree.ref(state.params), batch);
      value.dispose();
      const names = Object.keys(grads);
      const squares = names.map((name) => np.square(grads[name].ref).sum());
      const norm = np.sqrt(squares.reduce((sum, own) => sum.add(own)));
      const scale = np.minimum(np.reciprocal(norm.ref.add(1e-6)).mul(task.config.max_grad_norm), 1);
      const next: State = { params: {}, first: {}, second: {} };
      for (const name of names) {
        const grad = grads[name].mul(scale.ref);
        const own = {
          weight: state.params[name],
          first: state.first[name],
          second: state.second[name],
          grad,
        };
        const made = adamStep(task, own, corrections.map((correction) => correction.ref));
        next.params[name] = made.weight;
        next.first[name] = made.first;
        next.second[name] = made.second;
      }
      scale.dispose();
      tree.dispose(corrections);
      return { ...next, norm };
    },
  );
}

function batchOf(task: PeerTask): Batch {
  const { rows, length, ids, targets, coefficients, shape } = task;
  const { cos, sin } = rotations(task);
  const half = shape.hidden / shape.heads / 2;
  return {
    ids: np.array(ids).reshape([rows, length]),
    targets: np.array(targets).reshape([rows, length]),
    coefficients: np.array(coefficients).reshape([rows, 1]),
    cos: np.array(cos).reshape([length, 1, half]),
    sin: np.array(sin).reshape([length, 1, half]),
  };
}

/** @param device that it shares with tfjs and our kernels */
export async function jaxJs(task: PeerTask, device: GPUDevice): Promise<Trainee> {
  await initJax(device);
  const { config } = task;
  const fromWeights = (make: (name: string) => np.Array): Params =>
    Object.fromEntries([...task.weights.keys()].map((name) => [name, make(name)]));
  const zeros = (name: string) => np.zeros(task.weights.get(name)!.shape);
  const batch = batchOf(task);
  let state: State = {
    params: fromWeights((name) => {
      const { values, shape } = task.weights.get(name)!;
      return np.array(values).reshape(shape);
    }),
    first: fromWeights(zeros),
    second: fromWeights(zeros),
  };
  const stepOnce = makeStep(task);
  const meanLogprob = jit((params: Params, { coefficients, ...rest }: Batch) => {
    coefficients.dispose();
    return logprobs(task, params, rest).mean();
  });
  let steps = 0;
  return {
    name: "@jax-js/jax",
    async meanLogprob() {
      const [value] = await awaitGpu(meanLogprob(tree.ref(state.params), tree.ref(batch)).data());
      return value;
    },
    async step() {
      steps++;
      const corrections = [config.adam_beta1, config.adam_beta2].map((beta) => np.array(1 - beta ** steps));
      const { norm, ...next } = stepOnce(state, corrections, tree.ref(batch));
      state = next;
      const [value] = await awaitGpu(norm.data());
      return value;
    },
    dispose() {
      tree.dispose(state as { params: Params; first: Params; second: Params });
      tree.dispose(batch);
      stepOnce.dispose();
      meanLogprob.dispose();
    },
  };
}
