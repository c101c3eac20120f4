/** Memory of the GPU that is not needed any more is given back, and a rehearsal knows another GPU's limits. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { limitPool, trimPool } from "../../src/gpu/pool.ts";
import { emptyTensor, newTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { backpropagate, recomputed } from "../../src/gpu/op.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { rmsNorm } from "../../src/ops/norm/rms_norm.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";
import { createKvCache } from "../../src/policy/decode/kv_cache.ts";
import { TINY_CONFIG } from "./tiny_policy.ts";

const MIB = 2 ** 20;
const ROWS = 1024;
/** Bytes of a tensor of `ROWS` rows. */
const LAYER_BYTES = 4 * 64 * ROWS;

let gpu: Gpu;
before(async () => void (gpu = await openGpu()));
after(closeGpu);

const live = () => gpu.memory().liveBytes;

describe("the pool of free buffers", () => {
  beforeEach(trimPool);

  it("is given back where it holds much, and kept for reuse where it holds little", () => {
    const before = live();
    const make = (mib: number) => tf.dispose([emptyTensor([mib, MIB / 4]), emptyTensor([1, 64])]);
    make(48);
    assert.ok(live() >= before + 48 * MIB, "tfjs keeps what was freed");
    limitPool();
    assert.equal(live(), before);
    make(8);
    const kept = live();
    assert.ok(kept >= before + 8 * MIB);
    limitPool();
    assert.equal(live(), kept, "what was trimmed before does not count");
    make(8);
    assert.equal(live(), kept, "and is used again");
  });

  it("gives all of itself back to the GPU when it is trimmed", () => {
    const before = live();
    tf.dispose([emptyTensor([MIB, 1]), emptyTensor([MIB, 2])]);
    assert.equal(live(), before + 12 * MIB);
    trimPool();
    assert.equal(live(), before);
  });

  it("a plan says the bytes that it takes, all of which are given back with it", () => {
    const x = emptyTensor([ROWS, 64]);
    const build = () => add(add(add(x, x), x), x);
    recordPlan(build).dispose(); // its uniforms stay
    const before = live();
    const plan = recordPlan(build);
    assert.equal(plan.sizeBytes, live() - before);
    assert.ok(plan.sizeBytes >= 2 * LAYER_BYTES);
    plan.dispose();
    assert.equal(live(), before);
    x.dispose();
  });
});

const emptyRows = () => emptyTensor([ROWS, 64]);

/** Peak of a backward pass over so many layers, in tensors of a layer. @param sides inputs that the layers have beside the stream */
async function peakLayers(count: number, layer: (stream: Tensor, side: Tensor) => Tensor, hasSides = false) {
  const bytes = await rehearse((memory) => {
    const x = emptyRows();
    const sides = Array.from({ length: hasSides ? count : 0 }, emptyRows);
    const forward = () => {
      let stream = x;
      for (let l = 0; l < count; l++) stream = layer(stream, sides[l]);
      return stream;
    };
    backpropagate(forward, [x, ...sides], emptyRows());
    return Promise.resolve(memory().peakBytes);
  });
  return Math.floor(bytes / LAYER_BYTES);
}

function norm(x: Tensor): Tensor {
  const weight = { name: "w", shape: [64], format: "f32" as const, tensor: emptyTensor([64]), grad: null };
  return rmsNorm(x, weight, { eps: 1e-6 });
}

describe("a backward pass", () => {
  it("frees what it has used as it goes: each further layer costs the input that it saved", async () => {
    const [few, many] = [await peakLayers(60, norm), await peakLayers(160, norm)];
    assert.ok(many - few <= 110, `${few} tensors with 60 layers, ${many} with 160`);
  });

  it("frees as it goes where layers are run again", async () => {
    const again = (x: Tensor) => recomputed(norm, x);
    const [few, many] = [await peakLayers(60, again), await peakLayers(160, again)];
    assert.ok(many - few <= 110, `${few} tensors with 60 layers, ${many} with 160`);
  });

  it("frees as it goes where one kernel makes several gradients", async () => {
    const [few, many] = [await peakLayers(60, swiglu, true), await peakLayers(160, swiglu, true)];
    // A layer has the input it saved, an input beside it, and in the end that one's gradient for the first.
    assert.ok(many - few <= 210, `${few} tensors with 60 layers, ${many} with 160`);
  });

  it("leaves the gradient that it was given", async () => {
    const ones = () => uploadTensor(new Float32Array(8).fill(1), [2, 4]);
    const [x, y, dy] = [ones(), ones(), ones()];
    const gradient = async () => await readFloats(backpropagate(() => swiglu(x, y), [x, y], dy).grads[0]);
    const first = await gradient();
    assert.ok(first[0] > 0.9);
    assert.deepEqual(await gradient(), first);
    const { grads } = tf.engine().gradients(() => swiglu(x, y), [x, y], dy, false);
    assert.deepEqual(await readFloats(grads[0]), first, "nor does tfjs's own free it afterwards");
    assert.equal((await readFloats(dy))[0], 1);
  });
});

describe("a rehearsal for another GPU", () => {
  it("refuses what that GPU cannot hold or bind, though this one can", async () => {
    await rehearse(() => {
      newTensor([16, 64]);
      assert.throws(() => newTensor([17, 64]), /4352 bytes, this GPU allows 4096 a buffer/);
      return Promise.resolve();
    }, { maxBufferSize: 4096 });
    await rehearse(() => {
      const x = emptyTensor([17, 64]);
      assert.throws(() => add(x, x), /needs 4352 bytes, this GPU binds at most 4096/);
      return Promise.resolve();
    }, { maxStorageBufferBindingSize: 4096 });
  });

  it("begins when what was queued before is on its way, and takes none of it along", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [1, 4]);
    const before = add(x, x);
    await rehearse(() => Promise.resolve(void add(emptyTensor([1, 4]), emptyTensor([1, 4]))));
    const after = add(x, before);
    assert.deepEqual([...await readFloats(before)], [2, 4, 6, 8]);
    assert.deepEqual([...await readFloats(after)], [3, 6, 9, 12]);
  });

  it("leaves stock ops of tfjs as they were", async () => {
    const doubled = () => tf.tidy(() => tf.mul(uploadTensor(Float32Array.of(1, 2, 3), [3]), tf.scalar(2)));
    await rehearse(() => Promise.resolve(void doubled()));
    assert.deepEqual([...await readFloats(doubled())], [2, 4, 6]);
  });
});

describe("a cache of keys and values", () => {
  const SHAPE = { layers: 6, kvHeads: 2, headDim: 8 };
  const TENSOR_BYTES = 4 * 16 * 2 * 8; // of a block, in one layer

  it("has while it grows one old tensor beside the new ones, not all of them", async () => {
    await rehearse((memory) => {
      const cache = createKvCache({ ...TINY_CONFIG, ...SHAPE } as never, "f32", 16);
      cache.reserve(100, 1000);
      cache.blocks.take(100);
      cache.reserve(1, 1000);
      assert.equal(cache.blocks.capacity, 150);
      assert.equal(memory().liveBytes, 12 * 150 * TENSOR_BYTES);
      // Of 12 tensors the first 11 have grown, the last stands beside its copy.
      assert.equal(memory().peakBytes, (12 * 150 + 100) * TENSOR_BYTES);
      return Promise.resolve();
    });
  });

  it("grows to all of a binding, and says what to set where it would have to grow beyond", async () => {
    await rehearse(() => {
      const cache = createKvCache({ ...TINY_CONFIG, ...SHAPE } as never, "f32", 16);
      cache.reserve(10, 1000);
      cache.blocks.take(10);
      assert.throws(() => cache.reserve(1, 1000), /11 blocks.*this GPU takes 10; set kv_cache_dtype/);
      return Promise.resolve();
    }, { maxStorageBufferBindingSize: 10 * TENSOR_BYTES });
  });
});
