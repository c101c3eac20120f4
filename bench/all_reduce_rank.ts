/** A rank of bench/all_reduce.ts: `all_reduce_rank.ts <shared library> <samples>`; rank 0 prints seconds, as JSON. */
import assert from "node:assert/strict";
import process from "node:process";
import koffi from "koffi";
import { openRanks } from "../src/assembly/ranks.ts";
import type { AllReduceSize } from "./all_reduce.ts";

const MEGABYTES = [1, 16, 64];

const [library, samples] = process.argv.slice(2);
const { communicator, close } = await openRanks();
const { rank, size } = communicator;
const loaded = koffi.load(library);
const inC = (name: string) =>
  loaded.func(name, "double", ["void *", "int"]) as (v: Float32Array, n: number) => number;
const [byMpi, byShares] = [inC("all_reduce"), inC("all_reduce_by_shares")];

/** @returns seconds */
async function ours(values: Float32Array): Promise<number> {
  await communicator.barrier();
  const began = performance.now();
  await communicator.allReduceSum(values);
  return (performance.now() - began) / 1000;
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

const sizes: AllReduceSize[] = [];
for (const megabytes of MEGABYTES) {
  const length = Math.floor((megabytes << 20) / 4 / size) * size;
  const given = Float32Array.from({ length }, (_, i) => (((i * 7919 + rank * 104729) % 2003) - 1001) / 512);
  // What is timed gives the same bits.
  const [one, other] = [given.slice(), given.slice()];
  await communicator.allReduceSum(one);
  byShares(other, length);
  assert.ok(Buffer.from(one.buffer).equals(Buffer.from(other.buffer)), `sums of ${megabytes} MB differ`);
  const seconds: Record<"ours" | "shares" | "mpi", number[]> = { ours: [], shares: [], mpi: [] };
  for (let sample = 0; sample < Number(samples); sample++) {
    one.set(given);
    seconds.ours.push(await ours(one));
    one.set(given);
    seconds.shares.push(byShares(one, length));
    one.set(given);
    seconds.mpi.push(byMpi(one, length));
  }
  const { ours: own, shares, mpi } = seconds;
  sizes.push({ megabytes, seconds: median(own), sharesSeconds: median(shares), mpiSeconds: median(mpi) });
}
await communicator.barrier();
if (rank === 0) process.stdout.write(JSON.stringify(sizes));
await close();
process.exit();
