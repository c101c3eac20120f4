/** A step of several ranks as `bench --predict --ranks` reckons it: bytes on the wire, seconds, memory, shares. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { namedDevice } from "../../bench/predict/devices.ts";
import { allGather, allReduce, gatherNumbers, reduceScatter } from "../../bench/predict/exchange.ts";
import { INTERCONNECTS, namedInterconnect } from "../../bench/predict/interconnects.ts";
import {
  type RankStep,
  scaledStep,
  shapeOfShare,
  stepOfShare,
  worldsUpTo,
} from "../../bench/predict/scaling.ts";
import { scalingTable, stepSeconds } from "../../bench/predict/scaling_table.ts";
import { namedShape } from "../../bench/shapes.ts";

const H100 = namedDevice("h100");
const PCIE = INTERCONNECTS.pcie4;
const near = (found: number, wanted: number, share = 1e-9) =>
  assert.ok(Math.abs(found / wanted - 1) <= share, `${found} is not ${wanted}`);

const BILLION = 1e9;
const STEP: RankStep = {
  completions: 64,
  phases: { decode: 5, score: 3, forward: 1, backward: 2, optimizer: 0.1 },
  rowsPerPass: 4,
  values: 7 * BILLION,
  bytes: 140e9,
  scoreBytes: 27e9,
};

describe("what ranks send", () => {
  it("is (N - 1) / N of the whole in each half of a sum", () => {
    for (const ranks of [1, 2, 4, 64]) {
      const half = BILLION * (ranks - 1) / ranks;
      assert.equal(reduceScatter(BILLION, ranks, PCIE).sentBytes, half);
      assert.equal(allGather(BILLION, ranks, PCIE).sentBytes, half);
      assert.equal(allReduce(BILLION, ranks, PCIE).sentBytes, 2 * half);
    }
    assert.equal(gatherNumbers(8, 4, PCIE).sentBytes, 24);
    assert.equal(allReduce(BILLION, 1, PCIE).seconds, 0);
  });

  it("takes as long as its slowest stage, and a bucket of the others", () => {
    const slowGpu = { ...PCIE, gpuBytes: 1e9, nodeBytes: 1e12 };
    near(reduceScatter(8e9, 2, slowGpu).seconds, 8, 0.01);
    const slowNode = { ...PCIE, gpuBytes: 1e12, nodeBytes: 1e9 };
    near(reduceScatter(8e9, 2, slowNode).seconds, 4, 0.01);
  });

  it("shares a node's wire among its ranks, where they lie on several", () => {
    const fast = { ...PCIE, gpuBytes: 1e12, nodeBytes: 1e12, wireBytes: 10e9, ranksPerNode: 4 };
    // Each sends an eighth to each of four on the other node; four do so at once.
    near(reduceScatter(80e9, 8, fast).seconds, 4 * 4 * 10e9 / 10e9, 0.02);
    assert.ok(reduceScatter(80e9, 4, fast).seconds < 1);
  });

  it("costs a message's latency for every other rank, however little it is", () => {
    const far = namedInterconnect("10,100");
    const [few, many] = [4, 64].map((ranks) => gatherNumbers(8, ranks, far).seconds);
    near(many - few, 60 * 100e-6, 0.01);
  });
});

describe("an interconnect", () => {
  it("is named, or a link between any two ranks", () => {
    assert.equal(namedInterconnect("ib-hdr"), INTERCONNECTS["ib-hdr"]);
    const { nodeBytes, wireBytes, latency, ranksPerNode } = namedInterconnect("12.5,5");
    assert.deepEqual([nodeBytes, wireBytes, ranksPerNode], [12.5e9, 12.5e9, 1]);
    assert.deepEqual(latency, { node: 5e-6, wire: 5e-6 });
    for (const name of ["", "nvlink", "0,5", "12", "1,2,3", "12,", "toString"]) {
      assert.throws(
        () => namedInterconnect(name),
        /RangeError: Unknown interconnect .*nvlink-host, pcie4, ib-hdr/,
      );
    }
  });
});

describe("a step of ranks", () => {
  const world = { device: H100, link: PCIE };

  it("sends 21 GB for a full 7B on four ranks, in 2 to 4 s, and one LoRA's adapters in a moment", () => {
    const full = scaledStep("zero", STEP, 4, world);
    near(full.exchange.sentBytes, 21e9, 0.01);
    assert.ok(full.exchange.seconds > 2 && full.exchange.seconds < 4, `${full.exchange.seconds} s`);
    const lora = scaledStep("lora", { ...STEP, values: 40e6 }, 4, world);
    near(lora.exchange.sentBytes, 240e6, 0.01);
    assert.ok(lora.exchange.seconds < 0.3, `${lora.exchange.seconds} s`);
  });

  it("sends as many times more where gradients are sharded as there are passes, and holds their 4 bytes less", () => {
    const [whole, sharded] = [scaledStep("zero", STEP, 4, world), scaledStep("zeroPasses", STEP, 4, world)];
    near(sharded.exchange.sentBytes / whole.exchange.sentBytes, (16 + 1) / 2, 0.01);
    near(whole.bytes - sharded.bytes, 4 * 7e9 * 3 / 4);
    near(STEP.bytes - whole.bytes, 12 * 7e9 * 3 / 4);
  });

  it("hides no more of a pass' exchange than its backward takes", () => {
    near(scaledStep("zero", STEP, 4, world).hidden, 2 / 16);
    near(scaledStep("zeroPasses", STEP, 4, world).hidden, 2);
    const tiny = scaledStep("zeroPasses", { ...STEP, values: 1e6 }, 4, world);
    assert.ok(tiny.hidden < tiny.exchange.seconds);
  });

  it("is of one rank what the prediction says, and sends nothing", () => {
    for (const way of ["lora", "zero", "zeroPasses"] as const) {
      const step = scaledStep(way, STEP, 1, world);
      near(stepSeconds(step), 11.1);
      assert.deepEqual([step.exchange.sentBytes, step.hidden, step.bytes], [0, 0, STEP.bytes]);
    }
  });

  it("of evolution strategies neither trains nor sends more than a few numbers", () => {
    const step = scaledStep("es", STEP, 4, world);
    assert.ok(step.compute > 8 && step.compute < 8.2, `${step.compute} s`);
    assert.ok(step.exchange.sentBytes < 2e6);
  });
});

describe("a rank's share", () => {
  const named = namedShape("7b");

  it("is of whole prompts while it holds their groups, then of parts of one", () => {
    const shares = [64, 32, 16, 2].map((count) => shapeOfShare(named, count).settings);
    assert.deepEqual(shares.map(({ num_generations }) => num_generations), [32, 32, 16, 2]);
    for (const [i, count] of [64, 32, 16, 2].entries()) {
      const { per_device_train_batch_size: own, gradient_accumulation_steps: passes } = shares[i];
      assert.equal(own! * passes!, count);
    }
    assert.deepEqual(worldsUpTo(64), [1, 2, 4, 8, 16, 32, 64]);
    assert.deepEqual(worldsUpTo(5), [1, 2, 4]);
  });

  it("lies on the line between those that were recorded, and never below nothing", () => {
    const at = (completions: number, decode: number): RankStep => ({
      ...STEP,
      completions,
      phases: { decode },
    });
    const recorded = [at(64, 64), at(16, 16), at(4, 13)];
    const decodeOf = (completions: number) => stepOfShare(recorded, completions).phases.decode;
    near(decodeOf(64), 64);
    near(decodeOf(32), 32);
    near(decodeOf(8), 14);
    near(decodeOf(1), 12.25);
    assert.equal(stepOfShare(recorded, 2).rowsPerPass, 2);
    assert.equal(stepOfShare([at(64, 64), at(16, 0)], 4).phases.decode, 0);
  });
});

it("the table says what fits, how many nodes there are, and how far it is from linear", () => {
  const of = (ranks: number) => scaledStep("zero", STEP, ranks, { device: H100, link: PCIE });
  const steps = { weak: [of(1), of(4), of(64)], strong: [] };
  const text = scalingTable(steps, { shape: "7b", device: H100, link: PCIE });
  const rows = text.split("\n").filter((line) => /^\d+ +\d+ +64 /.test(line)).map((line) =>
    line.split(/ {2,}/)
  );
  assert.deepEqual(rows.map(([ranks, nodes]) => [ranks, nodes]), [["1", "1"], ["4", "1"], ["64", "16"]]);
  assert.deepEqual(rows.map((cells) => cells.at(-1)), [
    "140 (does not fit)",
    "77.0 (scores elsewhere)",
    "57.3",
  ]);
  assert.equal(rows[0].at(-2), "100%");
  assert.ok(Number.parseInt(rows[1].at(-2)!) < 100);
});
