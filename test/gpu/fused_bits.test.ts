/** Ops that do the work of several in one dispatch give the bits of the several. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { readFloats, uploadTensor, zeroTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { kvAppend, type KvPool } from "../../src/ops/attention/kv_append.ts";
import { residualNorm } from "../../src/ops/norm/residual_norm.ts";
import { rmsNorm } from "../../src/ops/norm/rms_norm.ts";
import { rope } from "../../src/ops/attention/rope.ts";
import { ropeTable } from "../../src/ops/attention/rope_table.ts";
import {
  attentionDecode,
  attentionDecodeNewest,
  decodeVariant,
} from "../../src/ops/attention/attention_decode.ts";
import { type FreshRows, ropeKv } from "../../src/ops/attention/rope_kv.ts";
import type { Weight, WeightFormat } from "../../src/ops/weight/weight.ts";

const EPS = 1e-5;
const floats = (seed: number, shape: number[], scale = 1) =>
  uploadTensor(Float32Array.from(randomFloats(seed, shape.reduce((a, b) => a * b, 1), scale)), shape);

async function bitsOf(tensors: Tensor[]): Promise<Uint32Array[]> {
  const values = await Promise.all(tensors.map((tensor) => readFloats(tensor)));
  return values.map((floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
}

type Norms = (x: Tensor, weight: Weight) => [Tensor, Tensor];

/** Stream, norm, and the gradients of x and weight. */
async function residualBits(rows: number, width: number, norms: Norms): Promise<Uint32Array[]> {
  const [x, tensor] = [floats(1, [rows, width]), floats(3, [width])];
  const weight: Weight = { name: "w", shape: [width], format: "f32", tensor, grad: zeroTensor([width]) };
  const joined = () => {
    const [stream, normed] = norms(x, weight);
    return add(stream, normed, 0.7);
  };
  const { grads } = tf.engine().gradients(joined, [x], floats(4, [rows, width]), false);
  return await bitsOf([...norms(x, weight), ...grads, weight.grad!]);
}

const HEAD_DIM = 12;
/** Blocks of 4 tokens; the third row holds nothing, the last position lies past its blocks. */
const TABLE = [[3, 5, 0, -1], [0, 2, 4, 1], [-1, -1, -1, -1], [1, 3, -1, -1], [0, 3, -1, -1]];
const POSITIONS = [4, 11, 0, -1, 12];

/** Rotated queries and both pools after a decoding step of 5 query heads over 2 key heads. */
async function keptBits(
  format: WeightFormat,
  step: (pool: KvPool, fresh: FreshRows, angles: { cos: Tensor; sin: Tensor }, table: Tensor) => Tensor,
): Promise<Uint32Array[]> {
  const words = 2 * HEAD_DIM / (format === "f32" ? 1 : 2);
  const pool: KvPool = { k: zeroTensor([6, 4, words]), v: zeroTensor([6, 4, words]), format };
  const fresh = {
    q: floats(1, [5, 5 * HEAD_DIM]),
    // Some beyond the largest f16, as which they are kept.
    k: floats(2, [5, 2 * HEAD_DIM], 1e5),
    v: floats(3, [5, 2 * HEAD_DIM], 1e5),
    positions: uploadTensor(Int32Array.from(POSITIONS), [5]),
  };
  const { cos, sin, shape } = ropeTable(10, HEAD_DIM, 10000);
  const angles = { cos: uploadTensor(cos, shape), sin: uploadTensor(sin, shape) };
  const rotated = step(pool, fresh, angles, uploadTensor(Int32Array.from(TABLE.flat()), [5, 4]));
  return await bitsOf([rotated, pool.k, pool.v]);
}

/** Tokens of two splits, a row that holds nothing, and the last token of a split. */
const LONG_POSITIONS = [283, 5, 255];
const LONG_TABLE = [[3, 0], [-1, 0], [0, 19]].map((
  [start, first],
) => [start, ...Array.from({ length: 19 }, (_, i) => first + i)]);

/** Two bf16 values of up to 2 in each word. */
const bf16Words = (seed: number, shape: number[]) =>
  uploadTensor(
    Int32Array.from(randomFloats(seed, shape.reduce((a, b) => a * b)), (x) => (x * 0x7fffffff) & 0xbfffbfff),
    shape,
  );

/** o and both pools of 4 query heads over 2 key heads, blocks of 16. */
async function newestBits(
  format: WeightFormat,
  attend: typeof attentionDecodeNewest,
): Promise<Uint32Array[]> {
  const shape = { heads: 4, kvHeads: 2, headDim: HEAD_DIM, scale: 0.3 };
  const rows = LONG_POSITIONS.length;
  const words = format === "f32" ? floats : bf16Words;
  const pool = [2, 3].map((seed) => words(seed, [38, 16, 2 * HEAD_DIM / (format === "f32" ? 1 : 2)]));
  const [q, k, v] = [4, 2, 2].map((heads, n) => floats(5 + n, [rows, heads * HEAD_DIM]));
  const positions = uploadTensor(Int32Array.from(LONG_POSITIONS), [rows]);
  const { cos, sin, shape: angles } = ropeTable(300, HEAD_DIM, 10000);
  const o = attend(
    { q, k, v, positions },
    { cos: uploadTensor(cos, angles), sin: uploadTensor(sin, angles) },
    {
      pool: { k: pool[0], v: pool[1], format },
      table: uploadTensor(Int32Array.from(LONG_TABLE.flat()), [rows, 20]),
      blockShift: 4,
    },
    shape,
    decodeVariant(shape, false),
  );
  return await bitsOf([o, ...pool]);
}

describe("fused ops", () => {
  before(async () => void await openGpu());
  after(closeGpu);
  for (const [rows, width] of [[1, 4], [5, 33], [37, 96], [3, 260]]) {
    it(`residual_norm of [${rows},${width}]: the bits of rms_norm beside x, forward and backward`, async () => {
      const apart: Norms = (x, weight) => [x, rmsNorm(x, weight, { eps: EPS })];
      const fused: Norms = (x, weight) => residualNorm(x, weight, { eps: EPS });
      assert.deepEqual(await residualBits(rows, width, fused), await residualBits(rows, width, apart));
    });
  }
  for (const format of ["f32", "bf16", "f16"] as const) {
    it(`rope_kv into ${format} pools: the bits of rope for queries and keys, then kv_append`, async () => {
      const options = { headDim: HEAD_DIM };
      const apart = await keptBits(format, (pool, { q, k, v, positions }, angles, table) => {
        const owners = uploadTensor(Int32Array.from(POSITIONS, (_, r) => r), [5]);
        const turned = rope(k, positions, angles, options);
        kvAppend(pool, { k: turned, v, owners, positions }, { table, blockShift: 2 });
        return rope(q, positions, angles, options);
      });
      const fused = await keptBits(
        format,
        (pool, fresh, angles, table) => ropeKv(pool, fresh, angles, { table, blockShift: 2 }, options),
      );
      assert.deepEqual(fused, apart);
    });
  }

  for (const format of ["f32", "bf16"] as const) {
    it(`attention to the newest key in ${format}, as on a GPU: the bits of rope_kv, then attention`, async () => {
      const fused = await newestBits(format, attentionDecodeNewest);
      const apart = await newestBits(format, ({ q, k, v, positions }, angles, { pool, ...table }, shape) => {
        const turned = ropeKv(pool, { q, k, v, positions }, angles, table, { headDim: HEAD_DIM });
        return attentionDecode(turned, { pool, ...table, positions }, shape);
      });
      assert.deepEqual(fused, apart);
    });
  }

  it("a wide row's norm has the same bits from workgroup memory, as on a GPU", async () => {
    for (const [rows, width] of [[1, 1024], [5, 1500]]) {
      const [x, tensor] = [floats(1, [rows, width]), floats(3, [width])];
      const weight: Weight = { name: "w", shape: [width], format: "f32", tensor, grad: null };
      const norms =
        () => [rmsNorm(x, weight, { eps: EPS }), rmsNorm(x, weight, { eps: EPS, unitOffset: true })];
      assert.deepEqual(await bitsOf(withGpuLanes(norms)), await bitsOf(norms()));
    }
  });
});
