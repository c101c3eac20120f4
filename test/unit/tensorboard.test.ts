import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { crc32c, maskedCrc32c } from "../../src/tracking/crc.ts";
import { nextFileName, openTensorBoard } from "../../src/tracking/tensorboard.ts";
import { encodeEvent, frameRecord } from "../../src/tracking/tensorboard_events.ts";
import type { EventContent } from "../../src/tracking/tensorboard_events.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const golden = JSON.parse(
  await readFile(new URL("../golden/tensorboard_events.json", import.meta.url), "utf8"),
);

it("crc32c() gives the check value of the Castagnoli polynomial", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa); // RFC 3720, B.4: 32 bytes of zeros
});

describe("an encoded and framed event", () => {
  const events: { step: number; content: EventContent }[] = [
    { step: 0, content: { kind: "fileVersion" } },
    { step: 7, content: { kind: "sessionStart" } },
    { step: 300, content: { kind: "scalars", values: [["reward", 1.5], ["lambda/value", -0.25]] } },
    { step: 25, content: { kind: "histogram", tag: "cost/dist", values: [5, 1, NaN, 3, 1], bucketCount: 2 } },
    {
      step: 25,
      content: {
        kind: "image",
        tag: "scatter/reward_vs_cost",
        png: Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0),
        width: 5,
        height: 3,
      },
    },
    { step: 3, content: { kind: "text", tag: "debug/train_batch_samples", markdown: "| é | b |" } },
  ];
  for (const { step, content } of events) {
    it(`is byte for byte what TensorBoard writes: ${content.kind}`, () => {
      const record = frameRecord(encodeEvent(content, step, 1700000000.25));
      assert.equal(Buffer.from(record).toString("hex"), golden[content.kind]);
    });
  }
});

it("an event carries its step from 1 on, a field of two bytes; step 0 is protobuf's default", () => {
  const lengthOf = (step: number) => encodeEvent({ kind: "fileVersion" }, step, 0).length;
  assert.deepEqual([1, 2, 127].map((step) => lengthOf(step) - lengthOf(0)), [2, 2, 2]);
});

describe("nextFileName()", () => {
  it("sorts after every older file, even when the clock was set back", () => {
    const older = ["events.out.tfevents.1700000009.grpo-webgpu", "events.out.tfevents.1600000000.host.1.0"];
    const name = nextFileName(older, 1650000000);
    assert.deepEqual([...older, name].sort().at(-1), name);
    assert.equal(nextFileName(["notes.txt"], 1650000000.9), "events.out.tfevents.1650000000.grpo-webgpu");
  });
});

describe("openTensorBoard()", () => {
  it("starts each file with the version and with the first step that it holds", () =>
    withScratchFolder(async (dir) => {
      const now = () => 1700000000.25;
      await (await openTensorBoard(dir, { now })).close();
      await (await openTensorBoard(dir, { now, firstStep: 7 })).close();
      const [first, second] = await Promise.all(
        (await readdir(dir)).sort().map((name) => readFile(join(dir, name))),
      );
      assert.equal(recordsOf(first).length, 2);
      assert.equal(second.toString("hex"), golden.fileVersion + golden.sessionStart);
    }));

  it("writes one sound record per call, and none for a histogram without values", () =>
    withScratchFolder(async (dir) => {
      const board = await openTensorBoard(dir);
      await board.scalars([["a", 1], ["b", NaN]], 1);
      await board.histogram("h", [NaN], 1);
      await board.histogram("h", [1, 2], 1);
      await board.text("t", "broken surrogate \ud800", 1);
      await board.close();
      const [name] = await readdir(dir);
      assert.equal(recordsOf(await readFile(join(dir, name))).length, 2 + 3);
    }));
});

/** Payloads of a TFRecord file, their checksums verified. */
function recordsOf(file: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    const payload = file.subarray(at + 12, at + 12 + length);
    assert.equal(file.readUInt32LE(at + 8), maskedCrc32c(file.subarray(at, at + 8)));
    assert.equal(file.readUInt32LE(at + 12 + length), maskedCrc32c(payload));
    payloads.push(payload);
    at += 12 + length + 4;
  }
  return payloads;
}
