/** Attention's promises beyond single calls: decoding equals the full pass, and neighbours never change a bit. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../../bench/case.ts";
import { packedBounds } from "../../bench/cases/attention.ts";
import { emptyTensor, readFloats, writeTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { attention, type AttentionShape } from "../../src/ops/attention.ts";
import { attentionDecode } from "../../src/ops/attention_decode.ts";
import { kvAppend } from "../../src/ops/kv_append.ts";

const SHAPE: AttentionShape = { heads: 4, kvHeads: 2, headDim: 16, scale: 0.25 };
const Q_WIDTH = SHAPE.heads * SHAPE.headDim;
const KV_WIDTH = SHAPE.kvHeads * SHAPE.headDim;

/** Values of q, k, v and the upstream gradient for `rows` tokens. */
function sequence(seed: number, rows: number): Float64Array[] {
  return [Q_WIDTH, KV_WIDTH, KV_WIDTH, Q_WIDTH].map((width, n) => randomFloats(seed + n, rows * width, 2));
}

const matrix = (values: ArrayLike<number>, width: number) =>
  tf.tensor(Float32Array.from(values), [values.length / width, width]);

/** o, dq, dk, dv of sequences packed in the given order, and spare rows after them. */
async function attentionOf(
  sequences: Float64Array[][],
  lengths: number[],
  spare: number,
): Promise<Float32Array[]> {
  const padded = [...sequences, sequence(900, spare)];
  const [q, k, v, dy] = [Q_WIDTH, KV_WIDTH, KV_WIDTH, Q_WIDTH].map((width, n) =>
    matrix(padded.flatMap((one) => [...one[n]]), width)
  );
  const bounds = tf.tensor(packedBounds(lengths, spare), [q.shape[0], 2], "int32");
  const { value, grads } = tf.engine().gradients(
    () => attention(q, k, v, bounds, SHAPE),
    [q, k, v],
    dy,
    false,
  );
  return await Promise.all([value, ...grads].map((tensor) => readFloats(tensor as Tensor)));
}

/** The columns of `rows` tokens that start at token `first`, from o, dq, dk, dv. */
function cut(arrays: Float32Array[], first: number, rows: number): Float32Array[] {
  return arrays.map((values, n) => {
    const width = n < 2 ? Q_WIDTH : KV_WIDTH;
    return values.slice(first * width, (first + rows) * width);
  });
}

/** Appends and attends to tokens promptLength.. of `one` through a plan recorded once; rows of o, one per token. */
async function decodeAll(
  one: Float64Array[],
  promptLength: number,
  tokens: number,
  slots: number,
): Promise<Float32Array[]> {
  const prompt = [1, 2].map((n) => matrix(one[n].slice(0, promptLength * KV_WIDTH), KV_WIDTH));
  const caches = [0, 1].map(() =>
    tf.tensor(new Float32Array(slots * KV_WIDTH).fill(7), [1, slots, KV_WIDTH])
  );
  const [q, k, v] = [Q_WIDTH, KV_WIDTH, KV_WIDTH].map((width) => emptyTensor([1, width]));
  const position = tf.tensor([0], [1], "int32");
  const promptBounds = tf.tensor([0, promptLength], [1, 2], "int32");
  for (const tensor of [...prompt, ...caches, position, promptBounds]) {
    writeTensor(tensor, await tensor.data());
  }
  const context = {
    kPrompt: prompt[0],
    vPrompt: prompt[1],
    promptBounds,
    kCache: caches[0],
    vCache: caches[1],
    position,
  };
  const made: { o?: Tensor } = {};
  const plan = recordPlan(() => {
    kvAppend(caches[0], k, position);
    kvAppend(caches[1], v, position);
    made.o = tf.keep(attentionDecode(q, context, SHAPE));
  });
  const rows: Float32Array[] = [];
  for (let t = 0; t < tokens; t++) {
    [q, k, v].forEach((tensor, n) => {
      const width = tensor.shape[1]!;
      writeTensor(
        tensor,
        Float32Array.from(one[n].slice((promptLength + t) * width, (promptLength + t + 1) * width)),
      );
    });
    writeTensor(position, Int32Array.of(t));
    plan.replay();
    rows.push((await readFloats(tf.tidy(() => tf.add(made.o!, 0)))).slice());
  }
  return rows;
}

describe("attention over packed sequences and caches", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("gives a sequence the same bits, forward and backward, alone and packed among others", async () => {
    const lengths = [5, 21, 13];
    const sequences = lengths.map((length, n) => sequence(10 * n + 1, length));
    const alone = await attentionOf([sequences[1]], [21], 0);
    const middle = cut(await attentionOf(sequences, lengths, 3), 5, 21);
    const last = cut(await attentionOf([sequences[2], sequences[0], sequences[1]], [13, 5, 21], 8), 18, 21);
    ["o", "dq", "dk", "dv"].forEach((name, n) => {
      assert.deepEqual(middle[n], alone[n], `${name} in the middle`);
      assert.deepEqual(last[n], alone[n], `${name} at the end`);
    });
  });

  it("equals the full pass when one recorded plan decodes token by token", async () => {
    const [promptLength, tokens] = [35, 6];
    const one = sequence(50, promptLength + tokens);
    const [o] = await attentionOf([one], [promptLength + tokens], 0);
    const decoded = await decodeAll(one, promptLength, tokens, 8);
    decoded.forEach((row, t) => {
      const expected = o.slice((promptLength + t) * Q_WIDTH, (promptLength + t + 1) * Q_WIDTH);
      row.forEach((value, c) => {
        // Same terms summed in another order: a few f32 roundings of values up to 2.
        assert.ok(
          Math.abs(value - expected[c]) <= 5e-6,
          `token ${t} column ${c}: ${value}, full pass ${expected[c]}`,
        );
      });
    });
  });
});
