/** Greedy decoding in stock tfjs ops: keys and values kept as tensors, tokens chosen and kept on the GPU. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readTensor } from "../../src/gpu/tensors.ts";
import { disposePlainModel, plainForward, plainModel, rotate } from "./plain_llama.ts";
import type { PeerTask } from "./task.ts";

/** Keys (rotated) and values so far, one of each a layer: [R,H,t,headDim]. (A type, for tf.tidy's sake.) */
type Cache = { keys: Tensor[]; values: Tensor[] };

export interface PlainDecoder {
  /** Tokens that follow each prompt, row by row: [R * count]. All prompts are of one length. */
  decode(prompts: readonly Int32Array[], count: number): Promise<Int32Array>;
  dispose(): void;
}

/** @param task its model; rotations for `length` positions */
export function plainDecoder(task: PeerTask): PlainDecoder {
  const model = plainModel(task);
  const { hidden, heads, vocab } = task.shape;
  const scale = (hidden / heads) ** -0.5;

  /** Tokens from `position` on: their logits' argmax at the last one, and the cache with them. */
  function forward(ids: Tensor, rows: number, position: number, cache: Cache | null) {
    const count = ids.size / rows;
    const [cos, sin] = [model.cos, model.sin].map((table) => tf.slice(table, [position, 0], [count, -1]));
    const kept: Cache = { keys: [], values: [] };
    const logits = plainForward(model, ids, rows, (l, q, k, v) => {
      const key = rotate(k, cos, sin);
      const keys = cache ? tf.concat([cache.keys[l], key], 2) : key;
      const values = cache ? tf.concat([cache.values[l], v], 2) : v;
      kept.keys.push(keys);
      kept.values.push(values);
      const scores = tf.mul(tf.matMul(rotate(q, cos, sin), keys, false, true), scale);
      const seen = count === 1 ? scores : tf.add(scores, tf.slice(model.mask, [0, 0], [count, count]));
      return tf.matMul(tf.softmax(seen), values);
    });
    const last = tf.squeeze(
      tf.slice(tf.reshape(logits, [rows, count, vocab]), [0, count - 1, 0], [rows, 1, vocab]),
      [1],
    );
    return { next: tf.argMax(last, -1), cache: kept };
  }

  return {
    async decode(prompts, count) {
      const rows = prompts.length;
      let position = prompts[0].length;
      let made = tf.tidy(() => {
        const ids = tf.tensor1d(Int32Array.from(prompts.flatMap((prompt) => [...prompt])), "int32");
        return forward(ids, rows, 0, null);
      });
      const tokens = [made.next];
      while (tokens.length < count) {
        const { next, cache } = made;
        made = tf.tidy(() => forward(next, rows, position++, cache));
        tf.dispose(cache);
        tokens.push(made.next);
      }
      const all = tf.tidy(() => tf.stack(tokens, 1));
      const values = await readTensor(all) as Int32Array;
      tf.dispose([...tokens, all]);
      tf.dispose(made.cache);
      return values;
    },
    dispose: () => disposePlainModel(model),
  };
}
