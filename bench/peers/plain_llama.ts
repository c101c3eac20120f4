/** The Llama in stock tfjs ops, as a user of tfjs writes it. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, Tensor2D, Variable } from "@tensorflow/tfjs";
import { NORM_EPS, type PeerTask, rotations } from "./task.ts";

export interface PlainModel {
  task: PeerTask;
  weights: Map<string, Variable>;
  /** [T, headDim/2] */
  cos: Tensor;
  sin: Tensor;
  /** [T,T]: 0 where a query sees the key, -1e9 where not. */
  mask: Tensor;
}

export function plainModel(task: PeerTask): PlainModel {
  const { length, shape: { hidden, heads } } = task;
  const { cos, sin } = rotations(task);
  const half = hidden / heads / 2;
  const weights = [...task.weights].map((
    [name, { values, shape }],
  ): [string, Variable] => [name, tf.tidy(() => tf.variable(tf.tensor(values, shape)))]);
  const mask = Float32Array.from(
    { length: length * length },
    (_, i) => i % length > Math.floor(i / length) ? -1e9 : 0,
  );
  return {
    task,
    weights: new Map(weights),
    cos: tf.tensor(cos, [length, half]),
    sin: tf.tensor(sin, [length, half]),
    mask: tf.tensor(mask, [length, length]),
  };
}

export function disposePlainModel({ weights, cos, sin, mask }: PlainModel): void {
  tf.dispose([...weights.values(), cos, sin, mask]);
}

export function rmsNorm(x: Tensor, weight: Tensor): Tensor {
  const meanSquare = tf.mean(tf.square(x), -1, true);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, NORM_EPS))), weight);
}

/** y = x W^T */
export const project = (x: Tensor, weight: Tensor) =>
  tf.matMul(x as Tensor2D, weight as Tensor2D, false, true);

/** @param x [B,H,T,headDim] @param cos [T,headDim/2] or what broadcasts like it */
export function rotate(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  const [a, b] = tf.split(x, 2, -1);
  return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], -1);
}

export function mlp(x: Tensor, weight: (name: string) => Tensor): Tensor {
  const gate = project(x, weight("mlp.gate_proj"));
  const up = project(x, weight("mlp.up_proj"));
  return project(tf.mul(tf.mul(gate, tf.sigmoid(gate)), up), weight("mlp.down_proj"));
}

/** [B*T,D] -> [B,H,T,headDim] */
function splitHeads(x: Tensor, rows: number, heads: number): Tensor {
  const [count, width] = x.shape;
  return tf.transpose(tf.reshape(x, [rows, count / rows, heads, width! / heads]), [0, 2, 1, 3]);
}

const joinHeads = (x: Tensor, width: number) => tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, width]);

/** The transformer around an attention over q, k, v of [B,H,T,headDim]. @returns logits [B*T,V] */
export function plainForward(
  model: PlainModel,
  ids: Tensor,
  rows: number,
  attend: (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor,
): Tensor {
  const { task: { shape: { layers, heads, hidden } }, weights } = model;
  const named = (name: string): Tensor => weights.get(`${name}.weight`)!;
  let x: Tensor = tf.gather(named("model.embed_tokens"), ids);
  for (let l = 0; l < layers; l++) {
    const weight = (name: string) => named(`model.layers.${l}.${name}`);
    const normed = rmsNorm(x, weight("input_layernorm"));
    const [q, k, v] = ["q", "k", "v"].map((name) =>
      splitHeads(project(normed, weight(`self_attn.${name}_proj`)), rows, heads)
    );
    const context = joinHeads(attend(l, q, k, v), hidden);
    x = tf.add(x, project(context, weight("self_attn.o_proj")));
    x = tf.add(x, mlp(rmsNorm(x, weight("post_attention_layernorm")), weight));
  }
  return project(rmsNorm(x, named("model.norm")), named("lm_head"));
}

/** Logits of whole sequences, each token seeing those before it. */
export function plainLogits(model: PlainModel, ids: Tensor): Tensor {
  const { task: { rows, shape: { hidden, heads } }, cos, sin, mask } = model;
  const scale = (hidden / heads) ** -0.5;
  return plainForward(model, ids, rows, (_layer, q, k, v) => {
    const scores = tf.matMul(rotate(q, cos, sin), rotate(k, cos, sin), false, true);
    return tf.matMul(tf.softmax(tf.add(tf.mul(scores, scale), mask)), v);
  });
}
