/** Collectives over tensors on the GPU, of ranks in one process. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readTensor, uploadTensor } from "../../src/gpu/tensors.ts";
import { type Communicator, shareOf, singleProcess } from "../../src/parallel/communicator.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { randomFloats } from "../cases/case.ts";

before(async () => void await openGpu());
after(closeGpu);

type Values = Float32Array | Int32Array;
type Run = (communicator: Communicator, tensor: tf.Tensor) => Promise<void>;

/** What each rank's tensor holds after the collective. */
async function heldAfter(given: Values[], shape: number[], run: Run): Promise<Values[]> {
  const tensors = given.map((values) => uploadTensor(values, shape));
  await Promise.all(inProcessRanks(given.length).map((rank, r) => run(rank, tensors[r])));
  const made = await Promise.all(tensors.map(readTensor));
  tf.dispose(tensors);
  return made;
}

const SHAPES: number[][] = [[1], [7], [3, 5], [2, 128, 3]];

for (const size of [1, 2, 3, 5]) {
  for (const dtype of ["float32", "int32"] as const) {
    describe(`tensors of ${dtype}, ${size} rank${size === 1 ? "" : "s"}`, () => {
      for (const shape of SHAPES) {
        it(`[${shape}]: sum, maximum, shares and broadcast have the bits of the same arrays`, async () => {
          const length = shape.reduce((a, b) => a * b, 1);
          const given = Array.from({ length: size }, (_, rank): Values => {
            const values = randomFloats(7 + rank, length, 1e3);
            return dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values);
          });
          const runs: Run[] = [
            (rank, tensor) => rank.allReduceSum(tensor),
            (rank, tensor) => rank.allReduceMax(tensor),
            (rank, tensor) => rank.reduceScatterSum(tensor),
            (rank, tensor) => rank.allGather(tensor),
            (rank, tensor) => rank.broadcast(tensor, size - 1),
          ];
          const before = tf.memory().numTensors;
          for (const run of runs) {
            const arrays = given.map((values) => values.slice());
            await Promise.all(
              inProcessRanks(size).map((rank, r) => run(rank, arrays[r] as unknown as tf.Tensor)),
            );
            assert.deepEqual(await heldAfter(given, shape, run), arrays);
          }
          assert.equal(tf.memory().numTensors, before);
        });
      }
    });
  }
}

for (const length of [1, 2, 7, 30]) {
  it(`tensors of ${length} summed by bfloat16 have the bits of the same arrays`, async () => {
    const given = [1, 2, 3].map((seed) => Float32Array.from(randomFloats(seed, length, 1e3)));
    const arrays = given.map((values) => values.slice());
    await Promise.all(inProcessRanks(3).map((rank, r) => rank.reduceScatterSum(arrays[r], "bfloat16")));
    const before = tf.memory().numTensors;
    const made = await heldAfter(
      given,
      [length],
      (rank, tensor) => rank.reduceScatterSum(tensor, "bfloat16"),
    );
    assert.deepEqual(made, arrays);
    assert.equal(tf.memory().numTensors, before);
    assert.notDeepEqual(made[0], given[0]);
  });
}

it("tensors that differ in kind or size, or are no tensors, do not meet", async () => {
  const float = uploadTensor(Float32Array.of(1), [1]);
  const int = uploadTensor(Int32Array.of(1), [1]);
  for (const other of [int, Float32Array.of(1)]) {
    const [one, two] = inProcessRanks(2);
    const ends = await Promise.allSettled([one.allReduceSum(float), two.allReduceSum(other)]);
    for (const end of ends) assert.match(String((end as PromiseRejectedResult).reason), /come apart/);
  }
  tf.dispose([float, int]);
});

it("one process leaves a tensor where it is", async () => {
  const tensor = uploadTensor(Float32Array.of(1, 2, 3), [3]);
  await singleProcess.allReduceSum(tensor);
  await singleProcess.allGather(tensor);
  assert.deepEqual([...await readTensor(tensor)], [1, 2, 3]);
  assert.deepEqual(shareOf(tensor.size, 0, 1), { start: 0, end: 3 });
  tensor.dispose();
});
