/** A rank of the tests of MPI: `mpi_worker.ts <what it does>`. */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import * as tf from "@tensorflow/tfjs";
import { openRanks } from "../../src/assembly/ranks.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readTensor, uploadTensor } from "../../src/gpu/tensors.ts";
import type { Communicator, NumberArray } from "../../src/parallel/communicator.ts";
import { gatherTexts } from "../../src/parallel/gather.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { assertSameOnRanks } from "../../src/parallel/same_on_ranks.ts";
import { randomFloats } from "../cases/case.ts";

const { communicator, localRank, localSize, close } = await openRanks();
const { rank, size } = communicator;

type Collective = (communicator: Communicator, values: NumberArray) => Promise<void>;

const COLLECTIVES: Record<string, Collective> = {
  sum: (c, values) => c.allReduceSum(values),
  max: (c, values) => c.allReduceMax(values),
  shares: (c, values) => c.reduceScatterSum(values),
  gather: (c, values) => c.allGather(values),
  broadcast: (c, values) => c.broadcast(values, size - 1),
};
const ROUNDED: Collective = (c, values) => c.reduceScatterSum(values, "bfloat16");

/** Below the number of ranks, odd, and beyond what every rank sums by itself. */
const LENGTHS = [0, 1, 2, 7, 1000, 100_003];
const KINDS = [Float32Array, Float64Array, Int32Array] as const;

const given = (kind: (typeof KINDS)[number], length: number) =>
  Array.from({ length: size }, (_, r): NumberArray => kind.from(randomFloats(7 + r, length, 1e3)));

/** What ranks in one process make of the values, of this rank. */
async function expected(all: NumberArray[], run: Collective): Promise<NumberArray> {
  const copies = all.map((values) => values.slice() as NumberArray);
  await Promise.all(inProcessRanks(size).map((c) => run(c, copies[c.rank])));
  return copies[rank];
}

async function compareArrays(): Promise<void> {
  for (const kind of KINDS) {
    for (const length of LENGTHS) {
      const all = given(kind, length);
      const runs = Object.entries({ ...COLLECTIVES, ...(kind === Float32Array ? { rounded: ROUNDED } : {}) });
      // All of them are called before any has ended.
      const held = runs.map(() => all[rank].slice() as NumberArray);
      await Promise.all(runs.map(([, run], i) => run(communicator, held[i])));
      for (const [i, [name, run]] of runs.entries()) {
        assert.deepEqual(held[i], await expected(all, run), `${name} of ${kind.name} of ${length}`);
      }
    }
  }
}

async function compareTensors(): Promise<void> {
  await openGpu();
  const before = tf.memory().numTensors;
  for (const kind of [Float32Array, Int32Array] as const) {
    for (const length of LENGTHS.slice(1)) {
      const all = given(kind, length);
      const runs = Object.entries({ ...COLLECTIVES, ...(kind === Float32Array ? { rounded: ROUNDED } : {}) });
      const tensors = runs.map(() => uploadTensor(all[rank] as Float32Array, [length]));
      await Promise.all(runs.map(([, run], i) => run(communicator, tensors[i] as unknown as NumberArray)));
      for (const [i, [name, run]] of runs.entries()) {
        assert.deepEqual(
          await readTensor(tensors[i]),
          await expected(all, run),
          `${name} of a tensor of ${length} ${kind.name}`,
        );
      }
      tf.dispose(tensors);
    }
  }
  assert.equal(tf.memory().numTensors, before);
  await closeGpu();
}

/** A rank that is not the first. */
const isOther = rank === 1;

const TASKS: Record<string, () => Promise<void>> = {
  async collectives() {
    await communicator.barrier();
    await compareArrays();
    const texts = await gatherTexts(communicator, [`rank ${rank} é`]);
    assert.deepEqual(texts, Array.from({ length: size }, (_, r) => `rank ${r} é`));
    assert.deepEqual([localRank, localSize], [rank, size]);
    assert.deepEqual(communicator.bytesSent > 0, size > 1);
    await compareTensors();
  },
  /** Of one float to another rank, beside the headers of 64 bytes. */
  async bytes() {
    const values = new Float32Array(1_000_000 * size);
    const before = communicator.bytesSent;
    await communicator.reduceScatterSum(values);
    const scattered = communicator.bytesSent - before;
    await communicator.reduceScatterSum(values, "bfloat16");
    const rounded = communicator.bytesSent - before - scattered;
    console.log(`bytes ${scattered} ${rounded}`);
  },
  /** Of libc's code: MPI must leave it as it was, for other threads run in it. */
  async code() {
    await communicator.barrier();
    const koffi = (await import("koffi")).default;
    const start = koffi.decode(koffi.load("libc.so.6").symbol("munmap"), "uint8", 1) as number[];
    assert.notEqual(start[0], 0xe9, "munmap begins with a jump elsewhere");
  },
  short: () => communicator.barrier(),
  async wait() {
    await communicator.barrier();
    console.log(`pid ${rank} ${process.pid}`);
    if (isOther) await sleep(600_000);
    await communicator.barrier();
  },
  async throws() {
    await communicator.barrier();
    // The own collective is pending when it throws.
    void communicator.allReduceSum(Float32Array.of(1));
    if (isOther) {
      setTimeout(() => {
        throw new Error("thrown outside of any promise");
      }, 300);
    }
    await communicator.barrier();
    if (!isOther) await communicator.barrier();
    await sleep(600_000);
  },
  async exits() {
    await communicator.barrier();
    if (isOther) process.exit(0);
    await communicator.barrier();
  },
  async leaves() {
    if (isOther) throw new Error("the scorer is gone");
    await communicator.allReduceSum(Float32Array.of(1));
  },
  async mismatch() {
    if (isOther) await communicator.allGather(Float32Array.of(1));
    else await communicator.allReduceSum(new Float32Array(100_000));
  },
  differs: () => assertSameOnRanks(communicator, "the settings", `beta: 0.1\nseed: ${isOther ? 2 : 1}\n`),
  /** A trap of WebAssembly is a signal that MPI's libraries like to take. */
  async trap() {
    await communicator.barrier();
    const code = Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x66],
      // Reads at -1.
      ...[0, 0, 10, 10, 1, 8, 0, 0x41, 0x7f, 0x28, 2, 0, 0x1a, 0x0b],
    ]);
    const { instance } = await WebAssembly.instantiate(code);
    assert.throws(() => (instance.exports.f as () => void)(), /out of bounds/);
  },
};

try {
  await TASKS[process.argv[2]]();
} catch (error) {
  communicator.leave(error);
  console.error(`rank ${rank}: ${(error as Error).message}`);
  process.exitCode = 1;
}
await close();
if (!process.exitCode) console.log(`rank ${rank} of ${size} is done`);
// Dawn's objects keep Node's event loop alive.
process.exit();
