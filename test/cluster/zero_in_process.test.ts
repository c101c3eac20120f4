/** Ranks that share out the optimizer's state (ZeRO): the weights, and what is where, on disk and on the way. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readTensor } from "../../src/gpu/tensors.ts";
import { loadCheckpoint } from "../../src/io/records/checkpoint.ts";
import type { Communicator } from "../../src/parallel/communicator.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { trainableWeights } from "../../src/policy/adapters.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy } from "../gpu/tiny_policy.ts";
import {
  assertSameRun,
  checkpointsIn,
  textScores,
  type TinyRun,
  tinyRun,
  type TinyRunOptions,
} from "../gpu/tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

type Weights = Record<string, Float32Array | Int32Array>;

async function weightsOf(policy: Policy): Promise<Weights> {
  const weights: Weights = {};
  for (const { name, tensor } of trainableWeights(policy)) weights[name] = await readTensor(tensor);
  return weights;
}

/** Sixteen completions of eight prompts a step, whatever the number of ranks. */
const batchOf = (size: number): Partial<RunConfig> => ({ gradient_accumulation_steps: 4 / size });

interface World {
  runs: TinyRun[];
  /** As each rank has them at its end. */
  weights: Weights[];
}

/** Trains as `size` ranks. @param of options of one of them, beside those of all */
async function trainAs(
  size: number,
  dir: string,
  { settings, ...options }: TinyRunOptions,
  communicators: Communicator[] = inProcessRanks(size),
  of: (rank: number) => TinyRunOptions = () => ({}),
): Promise<World> {
  const weights: Weights[] = [];
  const runs = await Promise.all(communicators.map((communicator, rank) =>
    tinyRun(dir, {
      ...options,
      ...of(rank),
      settings: { ...batchOf(size), ...settings },
      communicator,
      onEnd: async (policy) => void (weights[rank] = await weightsOf(policy)),
    })
  ));
  return { runs, weights };
}

const errorsOf = ({ runs }: World) => runs.map(({ error }) => error?.message ?? null);
const assertEnded = (world: World) => assert.deepEqual(errorsOf(world), world.runs.map(() => null));

const startOf = ({ events }: TinyRun) => events.find((event) => event.startsWith("start"));

/** Buckets so small that they are cut across tensors and within them, and that the last is shorter. */
const SMALL: Partial<RunConfig> = { reduce_bucket_size: 700, allgather_bucket_size: 1100 };

/** The optimizer's tensors of a checkpoint by name, whole, as hex. */
async function optimizerIn(dir: string): Promise<Record<string, string>> {
  const { optimizer, close } = await loadCheckpoint(dir);
  const tensors: Record<string, string> = {};
  for (const name of [...optimizer.tensors.keys()].sort()) {
    tensors[name] = Buffer.from(await optimizer.read(name)).toString("hex");
  }
  await close();
  return tensors;
}

for (const size of [2, 4]) {
  for (const dtype of ["float32", "bfloat16"] as const) {
    it(`${size} ranks of ${dtype} come to the same weights and state as ranks that each hold all, to the bit`, () =>
      withScratchFolder(async (dir) => {
        const of = (zero_stage: 0 | 2, buckets: Partial<RunConfig>) =>
          trainAs(size, join(dir, `${zero_stage}`), {
            makePolicy: () => tinyPolicy(dtype),
            settings: { dtype, max_steps: 3, zero_stage, ...buckets },
          });
        const whole = await of(0, { reduce_bucket_size: 900 });
        const shared = await of(2, SMALL);
        assertEnded(whole);
        assertEnded(shared);
        for (const weights of [...whole.weights, ...shared.weights]) {
          assert.deepEqual(weights, whole.weights[0]);
        }
        assert.deepEqual(
          await optimizerIn(join(dir, "2", "checkpoint-3")),
          await optimizerIn(join(dir, "0", "checkpoint-3")),
        );
      }));
  }
}

it("weights that are gathered in one exchange or in many, one after the other, are the same", () =>
  withScratchFolder(async (dir) => {
    const settings: Partial<RunConfig> = { max_steps: 2, save_steps: 0 };
    const large = await trainAs(2, join(dir, "large"), { settings });
    const small = await trainAs(2, join(dir, "small"), {
      settings: { ...settings, ...SMALL, overlap_comm: false },
    });
    assertEnded(large);
    assertEnded(small);
    for (const weights of [large.weights[1], ...small.weights]) assert.deepEqual(weights, large.weights[0]);
  }));

/** Of the largest weight; sums in another order, as in training_ranks.test.ts. */
const TOLERANCE = 1e-5;

function assertNear(actual: Weights, expected: Weights): void {
  const largest = Math.max(...Object.values(expected).flatMap((values) => [...values].map(Math.abs)));
  for (const [name, values] of Object.entries(expected)) {
    const off = Array.from(values, (value, i) => Math.abs(value - actual[name][i]));
    assert.ok(Math.max(...off) <= TOLERANCE * largest, `${name}: ${Math.max(...off)} of ${largest}`);
  }
}

it("four ranks come near the weights of one with the same batch", () =>
  withScratchFolder(async (dir) => {
    const settings: Partial<RunConfig> = { max_steps: 3, save_steps: 0 };
    const four = await trainAs(4, join(dir, "four"), { settings });
    const one = await trainAs(1, join(dir, "one"), { settings });
    assertEnded(four);
    assertEnded(one);
    assertNear(four.weights[0], one.weights[0]);
  }));

for (
  const [what, change] of [
    ["", {}],
    [" and run again in backward", { gradient_checkpointing: true }],
    [", one after the other", { overlap_comm: false }],
  ] as const
) {
  it(`layers' gradients that are summed amid backward${what} give near weights, the same on all ranks`, () =>
    withScratchFolder(async (dir) => {
      const before = tf.memory().numTensors;
      const settings: Partial<RunConfig> = { max_steps: 2, save_steps: 0, ...SMALL, ...change };
      const whole = await trainAs(2, join(dir, "whole"), { settings });
      const layered = await trainAs(2, join(dir, "layered"), {
        settings,
        passes: { sumsLayers: true, rowsPerPass: 2 },
      });
      assertEnded(layered);
      for (const weights of layered.weights) assert.deepEqual(weights, layered.weights[0]);
      assertNear(layered.weights[0], whole.weights[0]);
      assert.equal(tf.memory().numTensors, before);
    }));
}

it("a rank that takes fewer passes sums along with one that takes more", () =>
  withScratchFolder(async (dir) => {
    const settings: Partial<RunConfig> = { max_steps: 2, save_steps: 0 };
    const whole = await trainAs(2, join(dir, "whole"), { settings });
    const layered = await trainAs(
      2,
      join(dir, "layered"),
      { settings },
      inProcessRanks(2),
      (rank) => ({ passes: { sumsLayers: true, rowsPerPass: [4, 1][rank] } }),
    );
    assertEnded(layered);
    assert.deepEqual(layered.weights[1], layered.weights[0]);
    assertNear(layered.weights[0], whole.weights[0]);
  }));

it("a run goes on with four, then two ranks, then one, from the same bits as if its state had been whole", () =>
  withScratchFolder(async (dir) => {
    const folders = [join(dir, "shared"), join(dir, "whole")];
    for (const [size, max_steps] of [[4, 2], [2, 3], [1, 4]]) {
      for (const [i, zero_stage] of ([2, 0] as const).entries()) {
        const settings = { max_steps, zero_stage, lr_scheduler_type: "constant" } as const;
        const world = await trainAs(size, folders[i], { settings });
        assertEnded(world);
        assert.deepEqual(startOf(world.runs[0]), `start ${max_steps === 2 ? 1 : max_steps} of ${max_steps}`);
      }
      const states = await Promise.all(
        folders.map((folder) => optimizerIn(join(folder, `checkpoint-${max_steps}`))),
      );
      assert.deepEqual(states[0], states[1]);
    }
    const shards = readdirSync(join(folders[0], "checkpoint-2")).filter((name) =>
      name.startsWith("optimizer")
    );
    assert.deepEqual(shards.sort(), [1, 2, 3, 4].map((n) => `optimizer-0000${n}-of-00004.safetensors`));
    assertSameRun(folders[0], folders[1], ["checkpoint-1", "checkpoint-2", "checkpoint-3"]);
  }));

for (
  const [what, spoil] of [
    ["is missing", (path: string) => rmSync(path)],
    ["is damaged", (path: string) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(path, bytes);
    }],
  ] as const
) {
  it(`a checkpoint of which a shard ${what} is passed over by every rank`, () =>
    withScratchFolder(async (dir) => {
      const settings: Partial<RunConfig> = { max_steps: 2, lr_scheduler_type: "constant" };
      assertEnded(await trainAs(2, dir, { settings }));
      spoil(join(dir, "checkpoint-2", "optimizer-00002-of-00002.safetensors"));
      const again = await trainAs(2, dir, { settings });
      assertEnded(again);
      for (const run of again.runs) {
        assert.equal(startOf(run), "start 2 of 2");
        assert.match(
          run.messages.join(),
          /Skipped .*checkpoint-2: .*optimizer-00002-of-00002.safetensors is damaged/,
        );
      }
    }));
}

it("after one rank has failed none saves alone, and the run goes on from its last checkpoint", () =>
  withScratchFolder(async (dir) => {
    const settings: Partial<RunConfig> = { save_steps: 2, max_steps: 4 };
    const runs = await Promise.all(
      inProcessRanks(2).map((communicator, rank) =>
        tinyRun(dir, {
          settings: { ...batchOf(2), ...settings },
          communicator,
          score(request, completions) {
            if (rank === 1 && request === 4) throw new Error("the scorer is gone");
            return textScores(completions);
          },
        })
      ),
    );
    assert.match(runs[0].error!.message, /Rank 1 has left the run.*the scorer is gone/);
    assert.match(runs[0].messages.join(), /No checkpoint of step 3: each rank holds a share/);
    assert.deepEqual(checkpointsIn(dir), [2]);
    const rest = await trainAs(2, dir, { settings });
    assertEnded(rest);
    assert.equal(startOf(rest.runs[1]), "start 3 of 4");
  }));

/** Communicators that add up the bytes of what they sum and gather of tensors, at four or two bytes a value. */
function countingRanks(size: number) {
  const given = { summed: 0, gathered: 0 };
  const ranks = inProcessRanks(size).map((communicator): Communicator => ({
    ...communicator,
    reduceScatterSum(values, wire) {
      if (communicator.rank === 0) given.summed += (wire === "bfloat16" ? 2 : 4) * (values as tf.Tensor).size;
      return communicator.reduceScatterSum(values, wire);
    },
    allGather(values) {
      if (communicator.rank === 0 && values instanceof tf.Tensor) given.gathered += 4 * values.size;
      return communicator.allGather(values);
    },
  }));
  return { ranks, given };
}

for (const dtype of ["float32", "bfloat16"] as const) {
  it(`of ${dtype} ranks give each other every gradient and every weight once a step, as they are held`, () =>
    withScratchFolder(async (dir) => {
      for (const size of [2, 4]) {
        const { ranks, given } = countingRanks(size);
        const settings: Partial<RunConfig> = { dtype, max_steps: 2, save_steps: 0, ...SMALL };
        const makePolicy = () => tinyPolicy(dtype);
        const world = await trainAs(size, join(dir, `${size}`), { settings, makePolicy }, ranks);
        assertEnded(world);
        const words = Object.values(world.weights[0]).reduce((sum, { length }) => sum + length, 0);
        for (const bytes of [given.summed, given.gathered]) {
          // Beside it travel partial sums of the norm, and what fills the last bucket.
          assert.ok(Math.abs(bytes / (2 * 4 * words) - 1) < 0.05, `${bytes} bytes of ${words} words`);
        }
      }
    }));
}

it("gradients that travel as bfloat16 are rounded, each rank's before they are summed", () =>
  withScratchFolder(async (dir) => {
    const of = async (communication_dtype: "float32" | "bfloat16") => {
      const settings: Partial<RunConfig> = { max_steps: 1, save_steps: 1, communication_dtype };
      assertEnded(await trainAs(2, join(dir, communication_dtype), { settings }));
      const { optimizer, close } = await loadCheckpoint(join(dir, communication_dtype, "checkpoint-1"));
      const { buffer } = await optimizer.read("lm_head.weight.exp_avg");
      await close();
      return new Float32Array(buffer);
    };
    const [exact, rounded] = [await of("float32"), await of("bfloat16")];
    const largest = Math.max(...exact.map(Math.abs));
    const off = Math.max(...exact.map((value, i) => Math.abs(value - rounded[i])));
    assert.ok(off > 0 && off < largest / 100, `${off} of ${largest}`); // 8 bits: 1/512 of each rank's
  }));
