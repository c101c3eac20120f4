/** A sliding window saves work: what no window reaches is not even read. And what attention refuses. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { packedBounds, prefixRanges } from "../cases/attention/attention.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { attention, type AttentionShape, type Prefix } from "../../src/ops/attention/attention.ts";
import { attentionDecode } from "../../src/ops/attention/attention_decode.ts";

type Mode = <R>(body: () => R) => R;
const KERNELS: [string, Mode][] = [["the device's", (body) => body()], ["plain", withPlainKernels]];
const WIDE: AttentionShape = { heads: 2, kvHeads: 1, headDim: 20, scale: 0.2, window: 5 };
const SHAPES: AttentionShape[] = [WIDE, { ...WIDE, headDim: 8 }];

/** Random rows; those from `first` to `end` (excluded) are no numbers. */
function rows(seed: number, count: number, width: number, first = 0, end = 0): Tensor {
  const values = Float32Array.from(randomFloats(seed, count * width, 2));
  return tf.tensor(values.fill(NaN, first * width, end * width), [count, width]);
}

const pairs = (values: Int32Array) => tf.tensor(values, [values.length / 2, 2], "int32");

/** o, dq, dk and dv. */
async function passes(
  choose: Mode,
  [q, k, v, dy]: Tensor[],
  bounds: Tensor,
  shape: AttentionShape,
  prefix?: Prefix,
) {
  const { value, grads } = choose(() =>
    tf.engine().gradients(() => attention({ q, k, v, bounds, prefix }, shape), [q, k, v], dy, false)
  );
  return await Promise.all([value, ...grads].map((tensor) => readFloats(tensor as Tensor)));
}

function assertNumbers(values: Float32Array, width: number, from: number, to: number, what: string) {
  const part = values.subarray(from * width, to * width);
  assert.ok(part.length > 0 && part.every(Number.isFinite), what);
}

describe("a sliding window", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const [name, choose] of KERNELS) {
    for (const shape of SHAPES) {
      const { headDim } = shape;
      const how = `with ${name} kernels, heads of ${headDim}`;
      const [wide, narrow] = [2 * headDim, headDim];

      it(`does not read keys that it left behind, nor queries that it will not reach, ${how}`, async () => {
        const bounds = pairs(packedBounds([96]));
        const clean = [rows(1, 96, wide), rows(2, 96, narrow), rows(3, 96, narrow), rows(4, 96, wide)];
        const early = [clean[0], rows(2, 96, narrow, 0, 32), rows(3, 96, narrow, 0, 32), clean[3]];
        const [o, dq] = await passes(choose, early, bounds, shape);
        assertNumbers(o, wide, 64, 96, "o");
        assertNumbers(dq, wide, 64, 96, "dq");
        const late = [rows(1, 96, wide, 64, 96), clean[1], clean[2], rows(4, 96, wide, 64, 96)];
        const [, , dk, dv] = await passes(choose, late, bounds, shape);
        assertNumbers(dk, narrow, 0, 32, "dk");
        assertNumbers(dv, narrow, 0, 32, "dv");
      });

      it(`walks past the readers of a prompt that no longer see it, ${how}`, async () => {
        const lengths = [40, 40];
        const { ranges, readers } = prefixRanges([9], [lengths]);
        const width = (seed: number, wide: number) => {
          const values = Float32Array.from(randomFloats(seed, 80 * wide, 2));
          for (const first of [16, 56]) values.fill(NaN, first * wide, (first + 24) * wide);
          return tf.tensor(values, [80, wide]);
        };
        const tensors = [width(1, wide), width(2, narrow), width(3, narrow), width(4, wide)];
        const [dk, dv] = [0, 0].map((value) => tf.fill([9, narrow], value));
        const prefix = {
          k: rows(5, 9, narrow),
          v: rows(6, 9, narrow),
          ranges: pairs(ranges),
          readers: pairs(readers),
        };
        await passes(choose, tensors, pairs(packedBounds(lengths)), shape, { ...prefix, dk, dv });
        const pulled = await readFloats(dk);
        assertNumbers(pulled, narrow, 0, 9, "dk of the prompt");
        assertNumbers(await readFloats(dv), narrow, 0, 9, "dv of the prompt");
        assert.ok(
          pulled.subarray(0, 5 * narrow).every((x) => x === 0),
          "no completion reaches the first five",
        );
        assert.ok(pulled.subarray(5 * narrow).some((x) => x !== 0), "but the last four");
      });
    }
  }

  it("keeps none of the ranges that it makes", () => {
    const { backend } = tf.engine();
    const bounds = pairs(packedBounds([30, 9]));
    const { ranges, readers } = prefixRanges([9], [[30, 9]]);
    const tensors = [rows(1, 39, 40), rows(2, 39, 20), rows(3, 39, 20), rows(4, 39, 40)];
    const prefix = { k: rows(5, 9, 20), v: rows(6, 9, 20), ranges: pairs(ranges), readers: pairs(readers) };
    const [dk, dv] = [tf.zeros([9, 20]), tf.zeros([9, 20])];
    const before = backend.numDataIds();
    const { value, grads } = tf.engine().gradients(
      () =>
        attention(
          { q: tensors[0], k: tensors[1], v: tensors[2], bounds, prefix: { ...prefix, dk, dv } },
          WIDE,
        ),
      tensors.slice(0, 3),
      tensors[3],
      false,
    );
    tf.dispose([value, ...grads as Tensor[]]);
    assert.equal(backend.numDataIds(), before);
  });

  it("decodes without reading a token that it left behind", async () => {
    const pool = () => tf.reshape(rows(1, 64, 40, 0, 45), [4, 16, 40]);
    const context = {
      pool: { k: pool(), v: pool(), format: "f32" as const },
      table: tf.tensor([[0, 0, 1, 2, 3]], [1, 5], "int32"),
      positions: tf.tensor1d([49], "int32"),
      blockShift: 4,
    };
    const shape = { ...WIDE, kvHeads: 2 };
    const q = rows(2, 1, 40);
    assertNumbers(await readFloats(attentionDecode(q, context, shape)), 40, 0, 1, "o");
    const wider = await readFloats(attentionDecode(q, context, { ...shape, window: 6 }));
    assert.ok(wider.every(Number.isNaN), "one token more is one of those");
  });

  it("and what stands beside it are refused where they cannot be", () => {
    const [q, k, v] = [rows(1, 3, 40), rows(2, 3, 20), rows(3, 3, 20)];
    const attend = (odd: Partial<AttentionShape>) => () =>
      attention({ q, k, v, bounds: pairs(packedBounds([3])) }, { ...WIDE, ...odd });
    for (const window of [0, -1, 2.5, NaN]) assert.throws(attend({ window }), /a window of 1 token or more/);
    for (const softcap of [0, -50, NaN, Infinity]) {
      assert.throws(attend({ softcap }), /a finite softcap above 0/);
    }
    for (const scale of [NaN, Infinity]) assert.throws(attend({ scale }), /a finite scale/);
    assert.throws(attend({ headDim: 260 }), /a multiple of 4 up to 256/);
  });
});
