import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readRun } from "../../src/assembly/run_records.ts";
import { seriesOf, trendOf } from "../../src/tracking/trend.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const sample = (prompt: string) => ({
  prompt,
  completion: "c",
  reward: 1,
  cost: -1,
  combined: 0.5,
  unsafe: false,
});
const points = (step: number) => ({ step, from_step: 1, total: 1, rewards: [1], costs: [2] });

/** A run folder that holds these files under samples/. */
async function writeRun(
  dir: string,
  samples: Record<string, unknown>,
  metrics = '{"step":1}\n',
): Promise<void> {
  await mkdir(join(dir, "samples"), { recursive: true });
  await writeFile(join(dir, "metrics.jsonl"), metrics);
  for (const [name, content] of Object.entries(samples)) {
    await writeFile(join(dir, "samples", name), JSON.stringify(content));
  }
}

test("readRun() takes the tables of each split in order, by number and not by letter", () =>
  withScratchFolder(async (dir) => {
    const names = [
      "train_9.jsonl",
      "train_10.jsonl",
      "train_100.jsonl",
      "eval_7.jsonl",
      "xtrain_1.jsonl",
      "train_5.jsonl.partial",
    ];
    await writeRun(dir, Object.fromEntries(names.map((name) => [name, sample(name)])));
    const { tables } = await readRun(dir);
    assert.deepEqual(tables, [
      { split: "train", step: 9, samples: [sample("train_9.jsonl")] },
      { split: "train", step: 10, samples: [sample("train_10.jsonl")] },
      { split: "train", step: 100, samples: [sample("train_100.jsonl")] },
      { split: "eval", step: 7, samples: [sample("eval_7.jsonl")] },
    ]);
  }));

test("readRun() takes the windows of training and the evaluations, the first and the last of very many among them", () =>
  withScratchFolder(async (dir) => {
    const steps = { train: [50, 9, 100], eval: [20, 100, 9] };
    const files = Object.entries(steps).flatMap(([split, all]) =>
      all.map((step) => [`${split}_scatter_${step}.json`, points(step)] as const)
    );
    await writeRun(dir, {
      ...Object.fromEntries(files),
      "xeval_scatter_500.json": {},
      "eval_scatter_500.json.partial": {},
      "xtrain_scatter_500.json": {},
      "train_scatter_500.json.partial": {},
    });
    assert.deepEqual((await readRun(dir)).scatters, [
      ...[9, 50, 100].map((step) => ({ ...points(step), split: "train" })),
      ...[9, 20, 100].map((step) => ({ ...points(step), split: "eval" })),
    ]);
    const many = Array.from({ length: 101 }, (_, i) => [`eval_scatter_${i}.json`, points(i)] as const);
    await writeRun(join(dir, "many"), Object.fromEntries(many));
    const read = (await readRun(join(dir, "many"))).scatters.map(({ step }) => step);
    assert.deepEqual([read.length, read[0], read.at(-1)], [60, 0, 100]);
  }));

test("a run of one table has it once, one without samples has none, and its name is its folder's", () =>
  withScratchFolder(async (dir) => {
    await writeRun(join(dir, "a"), { "train_3.jsonl": sample("a") });
    assert.equal((await readRun(join(dir, "a"))).tables.length, 1);
    await mkdir(join(dir, "b"));
    await writeFile(join(dir, "b", "metrics.jsonl"), '{"step":1}\n \n\n{"step":2}\n');
    await writeFile(join(dir, "b", "run_config.json"), '{"seed":7}');
    assert.deepEqual(await readRun(`${join(dir, "b")}//`), {
      name: "b",
      rows: [{ step: 1 }, { step: 2 }],
      tables: [],
      scatters: [],
      config: { seed: 7 },
      changes: [],
      weightChange: null,
      facts: {},
    });
    await writeFile(join(dir, "b", "run_facts.json"), '{"ranks":2}');
    assert.deepEqual((await readRun(join(dir, "b"))).facts, { ranks: 2 });
    await writeFile(join(dir, "b", "changes.jsonl"), '{"step":2,"key":"max_steps","before":1,"now":2}\n{"st');
    assert.deepEqual((await readRun(join(dir, "b"))).changes, [
      { step: 2, key: "max_steps", before: 1, now: 2 },
    ]);
  }));

test("what cannot be read is an error, not an empty run", () =>
  withScratchFolder(async (dir) => {
    await mkdir(join(dir, "metrics.jsonl"));
    await assert.rejects(readRun(dir), /EISDIR/);
    await writeRun(join(dir, "b"), {});
    await mkdir(join(dir, "b", "run_config.json"));
    await assert.rejects(readRun(join(dir, "b")), /EISDIR/);
    const long = "x".repeat(80);
    await writeRun(join(dir, "c"), {}, `${long}\n`);
    await assert.rejects(readRun(join(dir, "c")), (error: Error) => {
      assert.ok(error.message.includes(`need one JSON object, got "${"x".repeat(60)}"; remove`));
      assert.ok(error.cause instanceof SyntaxError);
      return true;
    });
  }));

test("what is no sample, no window, no row or no config of a run is named with its file, and its line", () =>
  withScratchFolder(async (dir) => {
    const bad: [Record<string, unknown>, RegExp][] = [
      [
        { "train_1.jsonl": { ...sample("a"), reward: "1" } },
        /train_1\.jsonl:1: required prompt.*; remove it/,
      ],
      [{ "train_1.jsonl": null }, /train_1\.jsonl:1: required a JSON object, got null; remove it/],
      [
        { "eval_scatter_1.json": { ...points(1), costs: [] } },
        /eval_scatter_1\.json: required step.*; remove it/,
      ],
      [{ "eval_scatter_1.json": [] }, /eval_scatter_1\.json: required a JSON object, got a list/],
    ];
    for (const [i, [files, message]] of bad.entries()) {
      await writeRun(join(dir, `${i}`), files);
      await assert.rejects(readRun(join(dir, `${i}`)), message);
    }
    for (const row of ["null", '{"step":"1"}', '{"kl":1}', '{"step":1,"kl":[1]}']) {
      await writeRun(join(dir, "row"), {}, `{"step":0}\n${row}\n`);
      await assert.rejects(readRun(join(dir, "row")), /metrics\.jsonl:2: need a JSON object of numbers/);
    }
    await writeRun(join(dir, "config"), {});
    await writeFile(join(dir, "config", "run_config.json"), "null");
    await assert.rejects(readRun(join(dir, "config")), /run_config\.json: required a JSON object, got null/);
  }));

test("seriesOf() keeps each value with its own step, and leaves out rows without one", () => {
  const rows = [{ step: 3, kl: 1 }, { step: 5 }, { step: 6, kl: Infinity }, { step: 9, kl: 2 }];
  assert.deepEqual(seriesOf(rows, "kl"), { steps: [3, 9], values: [1, 2] });
});

test("trendOf() takes five values at either end, and half of them where there are fewer than ten", () => {
  const of = (count: number) => trendOf(Array.from({ length: count }, (_, i) => ({ step: i, kl: i })), "kl")!;
  assert.deepEqual([of(9).firstMean, of(9).lastMean], [1.5, 6.5]);
  assert.deepEqual([of(10).firstMean, of(10).lastMean], [2, 7]);
  assert.deepEqual([of(11).firstMean, of(11).lastMean], [2, 8]);
  assert.deepEqual([of(1).firstMean, of(1).lastMean], [0, 0]);
  assert.equal(trendOf([], "kl"), undefined);
});

test("readRun() has one row for a step, training and evaluation in it", () =>
  withScratchFolder(async (dir) => {
    const rows = [{ step: 1, reward: 2 }, { step: 1, "eval/safe_ratio": 0.5 }, { step: 2, reward: 3 }];
    await writeRun(dir, {}, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    assert.deepEqual((await readRun(dir)).rows, [
      { step: 1, reward: 2, "eval/safe_ratio": 0.5 },
      { step: 2, reward: 3 },
    ]);
  }));
