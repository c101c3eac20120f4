/** The record file of W&B: the bytes of its own client, and what is found in it again. */
import assert from "node:assert/strict";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { openRecordLog, recordsIn } from "../../src/tracking/wandb/record_log.ts";
import { encodeRecord, readRecord, type RecordContent } from "../../src/tracking/wandb/records.ts";
import golden from "./wandb_client/run.json" with { type: "json" };
import { withScratchFolder } from "./scratch_folder.ts";

const START = 1700000000;
/** As wandb_client/make.py has them. */
const RECORDS: readonly RecordContent[] = [
  { kind: "header" },
  {
    kind: "run",
    run: {
      id: "1a2b3c4d",
      entity: "",
      project: "grpo_alignment",
      displayName: "grpo_align_beta0.1_seed3_unified_n250",
      group: "outputs",
      tags: ["one", "zwei"],
      host: "a-host",
      startSeconds: START + 0.25,
      config: { _wandb: { t: {} }, beta: 0.1, run_name: null },
    },
  },
  { kind: "config", path: ["_wandb", "visualize", "scatter/reward_vs_cost"], value: { panel_type: "Vega2" } },
  { kind: "history", step: 7, values: { "train/loss": NaN, text: "x".repeat(40_000), _step: 7 } },
  { kind: "summary", values: { "train/loss": Infinity } },
  { kind: "file", path: "media/table/eval/samples_7_00.table.json" },
  { kind: "system", atSeconds: START + 15, values: { "system.cpu": 12.5 } },
  { kind: "exit", code: 1, runtimeSeconds: 75.2 },
];
const ENCODED = RECORDS.map((content, i) => encodeRecord(i + 1, content));

const all = () => true;
const sizesIn = (bytes: Uint8Array) => [...recordsIn(bytes)].map(({ payload }) => payload.length);

test("a record file of W&B has the bytes that its own client writes", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "run.wandb");
    const log = openRecordLog(path, all);
    for (const payload of ENCODED) log.append(payload);
    log.close();
    const written = await readFile(path);
    assert.deepEqual(new Uint8Array(written), new Uint8Array(gunzipSync(Buffer.from(golden.gzip, "base64"))));
    assert.deepEqual(
      [...recordsIn(written)].map(({ payload }) => [...payload]),
      ENCODED.map((bytes) => [...bytes]),
    );
  }));

test("records of every size around a block's end are found again", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "run.wandb");
    const first = 32 * 1024 - 7 - 7;
    // What is left of the first block: from a whole header down to nothing.
    for (const spare of [15, 14, 8, 7, 6, 3, 1, 0]) {
      await writeFile(path, "");
      const log = openRecordLog(path, all);
      const sizes = [first - spare, 1, 100_000, 0];
      for (const size of sizes) log.append(new Uint8Array(size).fill(size));
      log.close();
      assert.deepEqual(sizesIn(await readFile(path)), sizes, `${spare} bytes left`);
    }
  }));

test("what a kill tore off a record file goes away, and the file goes on behind its whole records", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "run.wandb");
    const whole = openRecordLog(path, all);
    for (const payload of ENCODED) whole.append(payload);
    whole.close();
    const bytes = await readFile(path);
    const ends = [...recordsIn(bytes)].map(({ end }) => end);
    for (const size of [0, 3, 7, ends[0] + 4, ends[2] + 20_000, ends[3] - 1, ends[6] + 9]) {
      await writeFile(path, bytes);
      await truncate(path, size);
      const kept = ends.filter((end) => end <= size).length;
      const log = openRecordLog(path, all);
      for (const payload of ENCODED.slice(kept)) log.append(payload);
      log.close();
      assert.deepEqual(await readFile(path), bytes, `torn at ${size}`);
    }
  }));

test("a damaged record ends what is read, and nothing is made of another file", () => {
  const bytes = new Uint8Array(gunzipSync(Buffer.from(golden.gzip, "base64")));
  const [first, second] = [...recordsIn(bytes)];
  const damaged = bytes.slice();
  damaged[second.end - 1] ^= 1;
  assert.deepEqual([...recordsIn(damaged)].map(({ end }) => end), [first.end]);
  assert.deepEqual([...recordsIn(new TextEncoder().encode("no record file"))], []);
});

test("records are read back as they were written", () => {
  const read = ENCODED.map(readRecord);
  assert.deepEqual(read.map(({ number }) => number), RECORDS.map((_, i) => i + 1));
  assert.deepEqual(read.map(({ kind }) => kind), RECORDS.map(({ kind }) => kind));
  const [, , config, history, summary, file, system, exit] = read;
  assert.deepEqual(config.items, [[
    ["_wandb", "visualize", "scatter/reward_vs_cost"],
    '{"panel_type":"Vega2"}',
  ]]);
  assert.equal(history.step, 7);
  assert.deepEqual(history.items.map(([[key], json]) => [key, json.slice(0, 4)]), [
    ["train/loss", "NaN"],
    ["text", '"xxx'],
    ["_step", "7"],
  ]);
  assert.deepEqual(summary.items, [[["train/loss"], "Infinity"]]);
  assert.equal(file.path, "media/table/eval/samples_7_00.table.json");
  assert.deepEqual([system.atSeconds, system.items], [START + 15, [[["system.cpu"], "12.5"]]]);
  assert.equal(exit.code, 1);
});
