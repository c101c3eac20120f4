/** Attention's promises beyond single calls: decoding equals the full pass, and neighbours never change a bit. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { packedBounds, shapeText } from "../cases/attention/attention.ts";
import { emptyTensor, readFloats, uploadTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { attention, type AttentionShape } from "../../src/ops/attention/attention.ts";
import { attentionDecode } from "../../src/ops/attention/attention_decode.ts";
import { kvAppend, type KvPool } from "../../src/ops/attention/kv_append.ts";

const SHAPE: AttentionShape = { heads: 4, kvHeads: 2, headDim: 8, scale: 0.25 };
/** Gemma's way of it: windows that begin in the prompt and after it, and bounded scores. */
const SHAPES: AttentionShape[] = [SHAPE, { ...SHAPE, window: 3, softcap: 2 }, { ...SHAPE, window: 20 }];
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
  shape: AttentionShape,
): Promise<Float32Array[]> {
  const padded = [...sequences, sequence(900, spare)];
  const [q, k, v, dy] = [Q_WIDTH, KV_WIDTH, KV_WIDTH, Q_WIDTH].map((width, n) =>
    matrix(padded.flatMap((one) => [...one[n]]), width)
  );
  const bounds = tf.tensor(packedBounds(lengths, spare), [q.shape[0], 2], "int32");
  const { value, grads } = tf.engine().gradients(
    () => attention({ q, k, v, bounds }, shape),
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

/** Values of `one`'s tokens from `first` on, of its array number `n`. */
function tokensOf(one: Float64Array[], n: number, first: number, tokens: number): Float32Array {
  const width = n === 0 ? Q_WIDTH : KV_WIDTH;
  return Float32Array.from(one[n].slice(first * width, (first + tokens) * width));
}

/**
 * Keeps the first `promptLength` tokens of `one` at once, then appends and attends to the others one by one through a
 * plan recorded once; rows of o, one per token.
 * @param start place of the first token in its block; @param order the blocks, of 2^blockShift tokens
 */
async function decodeAll(
  one: Float64Array[],
  { promptLength, tokens, start, order, blockShift, shape }: {
    shape: AttentionShape;
    promptLength: number;
    tokens: number;
    start: number;
    order: number[];
    blockShift: number;
  },
): Promise<Float32Array[]> {
  const poolShape = [Math.max(...order) + 1, 2 ** blockShift, KV_WIDTH];
  const filled = () =>
    uploadTensor(new Float32Array(poolShape[0] * poolShape[1] * KV_WIDTH).fill(7), poolShape);
  const pool: KvPool = { k: filled(), v: filled(), format: "f32" };
  const table = { table: uploadTensor(Int32Array.of(start, ...order), [1, 1 + order.length]), blockShift };
  const [k, v] = [1, 2].map((n) => matrix(tokensOf(one, n, 0, promptLength), KV_WIDTH));
  const places = Int32Array.from({ length: promptLength }, (_, t) => t);
  kvAppend(
    pool,
    { k, v, owners: tf.zeros([promptLength], "int32"), positions: tf.tensor1d(places, "int32") },
    table,
  );
  const fresh = [Q_WIDTH, KV_WIDTH, KV_WIDTH].map((width) => emptyTensor([1, width]));
  const owners = uploadTensor(Int32Array.of(0), [1]);
  const positions = uploadTensor(Int32Array.of(0), [1]);
  const made: { o?: Tensor } = {};
  const plan = recordPlan(() => {
    kvAppend(pool, { k: fresh[1], v: fresh[2], owners, positions }, table);
    made.o = tf.keep(attentionDecode(fresh[0], { pool, positions, ...table }, shape));
  });
  const rows: Float32Array[] = [];
  for (let t = promptLength; t < promptLength + tokens; t++) {
    fresh.forEach((tensor, n) => writeTensor(tensor, tokensOf(one, n, t, 1)));
    writeTensor(positions, Int32Array.of(t));
    plan.replay();
    rows.push((await readFloats(tf.tidy(() => tf.add(made.o!, 0)))).slice());
  }
  return rows;
}

describe("attention over packed sequences and caches", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const shape of SHAPES) {
    const how = shapeText({ ...shape, scale: undefined });
    it(`gives a sequence the same bits, forward and backward, alone and packed among others${how}`, async () => {
      const lengths = [5, 21, 13];
      const sequences = lengths.map((length, n) => sequence(10 * n + 1, length));
      const alone = await attentionOf([sequences[1]], [21], 0, shape);
      const middle = cut(await attentionOf(sequences, lengths, 3, shape), 5, 21);
      const last = cut(
        await attentionOf([sequences[2], sequences[0], sequences[1]], [13, 5, 21], 8, shape),
        18,
        21,
      );
      ["o", "dq", "dk", "dv"].forEach((name, n) => {
        assert.deepEqual(middle[n], alone[n], `${name} in the middle`);
        assert.deepEqual(last[n], alone[n], `${name} at the end`);
      });
    });

    it(`has the bits of the full pass when one recorded plan decodes token by token${how}`, async () => {
      const [promptLength, tokens] = [35, 6];
      const one = sequence(50, promptLength + tokens);
      const [o] = await attentionOf([one], [promptLength + tokens], 0, shape);
      const layout = { start: 5, order: [9, 0, 4, 2, 7, 3], blockShift: 3 };
      const decoded = await decodeAll(one, { promptLength, tokens, shape, ...layout });
      decoded.forEach((row, t) => {
        const expected = o.slice((promptLength + t) * Q_WIDTH, (promptLength + t + 1) * Q_WIDTH);
        assert.deepEqual(row, expected, `token ${promptLength + t}`);
      });
    });
    it(`gives the same bits wherever the blocks lie and however large they are${how}`, async () => {
      const [promptLength, tokens] = [37, 9];
      const one = sequence(70, promptLength + tokens);
      const decode = (start: number, order: number[], blockShift: number) =>
        decodeAll(one, { promptLength, tokens, start, order, blockShift, shape });
      const expected = await decode(0, [0], 6);
      assert.deepEqual(await decode(18, [0], 6), expected);
      assert.deepEqual(await decode(3, [4, 1, 3, 0], 4), expected);
      const ofTwo = Array.from({ length: 23 }, (_, b) => 5 * b % 23);
      assert.deepEqual(await decode(0, ofTwo, 1), expected);
    });
  }
});
