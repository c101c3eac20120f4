/** A folder that several ranks write: whoever fails, and when, all of them learn of it and none waits for ever. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  loadCheckpoint,
  type Partners,
  saveCheckpoint,
  writeOptimizerShard,
} from "../../src/io/records/checkpoint.ts";
import type { TensorSource } from "../../src/io/tensors/safetensors.ts";
import type { Communicator } from "../../src/parallel/communicator.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { writeTogether } from "../../src/train/writing_together.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const f32 = (name: string, values: number[]): TensorSource => ({
  name,
  dtype: "F32",
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

/** Values `start` up to `end` of a moment that holds 0, 1, 2, ... */
const part = (start: number, end: number) =>
  f32(`w.exp_avg[${start}:${end}]`, Array.from({ length: end - start }, (_, i) => start + i));

interface Writers {
  lead?(dir: string, partners: Partners): Promise<void>;
  follow?(communicator: Communicator, partial: string): ReturnType<typeof writeOptimizerShard>;
}

const lead = async (dir: string, partners: Partners) =>
  void await saveCheckpoint(dir, {
    step: 7,
    weightsFile: "model.safetensors",
    weights: [f32("w", [1, 2])],
    optimizer: [part(0, 2)],
    state: {},
    modelFiles: [],
    partners,
  });

const follow = (communicator: Communicator, partial: string) =>
  writeOptimizerShard(partial, communicator, [part(2 * communicator.rank, 2 * communicator.rank + 2)]);

/** What each of three ranks ends with. */
async function write(dir: string, writers: Writers): Promise<(string | null)[]> {
  const own = { lead, follow, ...writers };
  const ends = await Promise.allSettled(
    inProcessRanks(3).map((communicator) =>
      writeTogether(
        communicator,
        (partners) => own.lead(dir, partners),
        (partial) => own.follow(communicator, partial),
      )
    ),
  );
  return ends.map((end) => end.status === "fulfilled" ? null : (end.reason as Error).message);
}

test("a checkpoint of three ranks is read as one, any stretch of it", () =>
  withScratchFolder(async (dir) => {
    assert.deepEqual(await write(dir, {}), [null, null, null]);
    const { optimizer, close } = await loadCheckpoint(join(dir, "checkpoint-7"));
    assert.deepEqual([...optimizer.tensors.keys()], ["w.exp_avg"]);
    const read = async (start: number, end: number) =>
      Array.from(new Float32Array((await optimizer.read("w.exp_avg", 4 * start, 4 * (end - start))).buffer));
    assert.deepEqual(await read(0, 6), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(await read(1, 4), [1, 2, 3]);
    assert.deepEqual(await read(4, 5), [4]);
    await assert.rejects(optimizer.read("w.exp_avg", 20, 8), /it has 24 bytes/);
    await assert.rejects(optimizer.read("v.exp_avg"), /has "w.exp_avg"/);
    await close();
  }));

test("shards that leave values out are no checkpoint", () =>
  withScratchFolder(async (dir) => {
    const gap = (communicator: Communicator, partial: string) =>
      writeOptimizerShard(partial, communicator, communicator.rank === 1 ? [] : [part(4, 6)]);
    assert.deepEqual(await write(dir, { follow: gap }), [null, null, null]);
    await assert.rejects(
      loadCheckpoint(join(dir, "checkpoint-7")),
      /must hold "w.exp_avg" from value 2 on, and go on at 4/,
    );
  }));

const failing = (message: string) => () => Promise.reject(new Error(message));

const FAILURES: [when: string, writers: Writers, own: RegExp, others: RegExp][] = [
  ["rank 0 before it has a folder", { lead: failing("no folder") }, /^no folder$/, /^Rank 0 .*: no folder$/],
  [
    "rank 0 while the others write",
    {
      async lead(dir, partners) {
        await partners.begin(dir);
        throw new Error("disk full");
      },
      follow: () => Promise.resolve({ name: "x", size_bytes: 0, sha256: "" }),
    },
    /^disk full$/,
    /^Rank 0 has no checkpoint: disk full$/,
  ],
  [
    "rank 0 when all have written",
    {
      async lead(dir, partners) {
        await lead(dir, partners);
        throw new Error("no rename");
      },
    },
    /^no rename$/,
    /^Rank 0 has no checkpoint: no rename$/,
  ],
  [
    "another rank",
    {
      follow: (communicator, partial) =>
        communicator.rank === 2 ? failing("quota exceeded")() : follow(communicator, partial),
    },
    /rank 2 could not write its part: quota exceeded/,
    /^Rank 0 has no checkpoint: .*rank 2 could not write its part: quota exceeded/,
  ],
];

for (const [when, writers, own, others] of FAILURES) {
  test(`where ${when} fails, every rank says why, and nothing unfinished stays`, () =>
    withScratchFolder(async (dir) => {
      const [first, ...rest] = await write(dir, writers);
      assert.match(first!, own);
      for (const message of rest) assert.match(message!, others);
      assert.deepEqual(readdirSync(dir).filter((name) => name.startsWith(".")), []);
      assert.equal(existsSync(join(dir, "checkpoint-7")), when.endsWith("written"));
    }));
}
