/** What a run sends to TensorBoard: the file's bytes against the records that were meant. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { samplesMarkdown, sampleTable } from "../../src/tracking/samples.ts";
import { histogramBuckets } from "../../src/tracking/statistics.ts";
import { encodeEvent, type EventContent, frameRecord } from "../../src/tracking/tensorboard_events.ts";
import { nextFileName, openTensorBoard } from "../../src/tracking/tensorboard.ts";
import { writeTextInFolder } from "../../src/io/files/atomic_files.ts";
import { sinksOf } from "../../src/tracking/sinks.ts";
import { openTracker, type TrackerConfig, type TrackerState } from "../../src/tracking/tracker.ts";
import { scatterPng } from "../../src/tracking/scatter_png.ts";
import type { MetricRow, StepRecord } from "../../src/tracking/metrics.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TrackerConfig = {
  hist_every: 6,
  scatter_every: 0,
  scatter_max_points: 100,
  debug_log_every: 8,
  debug_log_n_samples: 2,
  eval_table_n_samples: 1,
};
const CONFIG_MARKDOWN = [
  "| setting | value |",
  "|---|---|",
  ...Object.entries(CONFIG).map(([key, value]) => `| ${key.replaceAll("_", "\\_")} | ${value} |`),
].join("\n");
const TEXTS = { prompts: ["p", "p", "q", "q"], completions: ["a", "b", "c", "d"] };
const NOW = 1700000000.25;
type Event = [content: EventContent, step: number];

/** The bytes of a file that holds these events. */
const fileOf = (events: Event[]) =>
  Buffer.concat(events.map(([content, step]) => frameRecord(encodeEvent(content, step, NOW))));

const startOf = (
  firstStep: number,
): Event[] => [[{ kind: "fileVersion" }, 0], [{ kind: "sessionStart" }, firstStep]];

/** With the settings, as a run has it. */
const runStartOf = (firstStep: number): Event[] => [
  ...startOf(firstStep),
  [{ kind: "text", tag: "config", markdown: CONFIG_MARKDOWN }, firstStep],
];

/** A run's plot as its event has it. */
const scatterOf = (tag: string, title: string, { rewards, costs }: StepRecord, step: number): Event => [
  { kind: "image", tag, png: scatterPng({ title, rewards, costs }), width: 1200, height: 900 },
  step,
];

const scalarsOf = ({ step, ...metrics }: MetricRow): Event => [
  { kind: "scalars", values: Object.entries(metrics) },
  step,
];

/** A tracker at NOW, whose rows gather in `rows`. */
const openAt = (
  dir: string,
  rows: MetricRow[],
  resume?: { step: number; state: TrackerState },
  config: TrackerConfig = CONFIG,
) =>
  openTracker({
    runDir: dir,
    config,
    sinks: sinksOf((row) => void rows.push(row), writeTextInFolder),
    onMessage: assert.fail,
    now: () => NOW,
    resume,
  });

async function onlyFileIn(dir: string): Promise<Buffer> {
  const names = await readdir(dir);
  assert.equal(names.length, 1);
  return await readFile(join(dir, names[0]));
}

test("a step sends its scalars, and histograms and samples where the generation batch holds their multiple", () =>
  withScratchFolder(async (dir) => {
    const rows: MetricRow[] = [];
    const tracker = await openAt(dir, rows);
    const records = [4, 8, 12].map((step) =>
      stepRecord({ step, optimizerSteps: 4, rewards: [step, 2, 3, 4] })
    );
    for (const record of records) await tracker.logStep(record, TEXTS);
    await tracker.close();
    const histograms = (i: number): Event[] => [
      [{ kind: "histogram", tag: "helpfulness/dist", values: records[i].rewards }, records[i].step],
      [{ kind: "histogram", tag: "cost/dist", values: records[i].costs }, records[i].step],
    ];
    const markdown = samplesMarkdown(sampleTable(TEXTS, records[1], 2));
    const expected = fileOf([
      ...runStartOf(0),
      scalarsOf(rows[0]),
      // Of every 6th step, 6 is among 5 to 8 and 12 among 9 to 12; of every 8th, 8 is among 5 to 8.
      scalarsOf(rows[1]),
      ...histograms(1),
      [{ kind: "text", tag: "debug/train_batch_samples", markdown }, 8],
      scalarsOf(rows[2]),
      ...histograms(2),
    ]);
    assert.deepEqual(await onlyFileIn(join(dir, "runs")), expected);
  }));

test("a run that goes on tells readers to forget the steps after its checkpoint", () =>
  withScratchFolder(async (dir) => {
    const state: TrackerState = { scatter: { fromStep: 0, seen: 0, stride: 1, rewards: [], costs: [] } };
    const resume = { step: 7, state };
    const tracker = await openAt(dir, [], resume);
    await tracker.close();
    assert.deepEqual(await onlyFileIn(join(dir, "runs")), fileOf(runStartOf(8)));
  }));

test("an evaluation sends a table, a plot and its scalars", () =>
  withScratchFolder(async (dir) => {
    const rows: MetricRow[] = [];
    const tracker = await openAt(dir, rows);
    const record = stepRecord({ step: 5 });
    await tracker.logEval({ ...record, lambdas: [{ name: null, value: 1 }] }, TEXTS);
    await tracker.close();
    const markdown = samplesMarkdown(sampleTable(TEXTS, record, 1));
    assert.deepEqual(
      await onlyFileIn(join(dir, "runs")),
      fileOf([
        ...runStartOf(0),
        [{ kind: "text", tag: "eval/samples", markdown }, 5],
        scatterOf("scatter/eval_reward_vs_cost", "Reward against cost, evaluation", record, 5),
        scalarsOf(rows[0]),
      ]),
    );
  }));

test("a plot of the completions is a picture of its window's points", () =>
  withScratchFolder(async (dir) => {
    const rows: MetricRow[] = [];
    const tracker = await openAt(dir, rows, undefined, { ...CONFIG, scatter_every: 1 });
    const record = stepRecord({ step: 1 });
    await tracker.logStep(record, TEXTS);
    await tracker.close();
    const file = await onlyFileIn(join(dir, "runs"));
    const plot = fileOf([scatterOf("scatter/reward_vs_cost", "Reward against cost", record, 1)]);
    assert.deepEqual(file.subarray(-plot.length), plot);
  }));

test("with tensorboard_names=hf TRL's names stand under train/, and the reference's alone, also after a resume", () =>
  withScratchFolder(async (dir) => {
    const rows: MetricRow[] = [];
    const tracker = await openAt(
      dir,
      rows,
      undefined,
      { ...CONFIG, tensorboard_names: "hf" } as TrackerConfig,
    );
    await tracker.logStep(stepRecord({ step: 1 }), TEXTS);
    await tracker.close();
    const text = (await onlyFileIn(join(dir, "runs"))).toString("latin1");
    for (const name of ["train/loss", "train/completions/mean_length", "cost/mean", "lambda/value"]) {
      assert.ok(text.includes(`${String.fromCharCode(name.length)}${name}`), name);
    }
    assert.ok(!text.includes("train/cost"));
  }));

test("a histogram of a list with a hole in it counts the values that there are, in 30 buckets", () =>
  withScratchFolder(async (dir) => {
    const board = await openTensorBoard(dir, { now: () => NOW });
    await board.histogram("h", [NaN, 1, 2], 3);
    await board.close();
    const content: EventContent = { kind: "histogram", tag: "h", values: [1, 2], bucketCount: 30 };
    assert.deepEqual(await onlyFileIn(dir), fileOf([...startOf(0), [content, 3]]));
  }));

test("events carry seconds since 1970, and a file that is closed takes no more", () =>
  withScratchFolder(async (dir) => {
    const before = Date.now() / 1000;
    const board = await openTensorBoard(dir);
    await board.close();
    const seconds = (await onlyFileIn(dir)).readDoubleLE(13); // frame of 12 bytes, then the tag of wall_time
    assert.ok(seconds >= before && seconds <= Date.now() / 1000, `${seconds}`);
    await assert.rejects(board.scalars([["a", 1]], 1));
  }));

test("nextFileName() is one above the newest file's, whatever else lies there", () => {
  assert.equal(nextFileName([], 7), "events.out.tfevents.0000000007.grpo-webgpu");
  const beside = ["events.out.tfevents.1700000009.host", "events.out.tfevents.x", "samples"];
  assert.equal(nextFileName(beside, 1700000009), "events.out.tfevents.1700000010.grpo-webgpu");
  assert.equal(nextFileName(beside, 1700000011.9), "events.out.tfevents.1700000011.grpo-webgpu");
});

test("samplesMarkdown() is one row per sample, numbers to three places, texts kept in their cells", () => {
  const sample = {
    prompt: "a|b",
    completion: "c\nd",
    reward: 1,
    cost: -0.12345,
    combined: 2.5,
    unsafe: false,
  };
  assert.equal(
    samplesMarkdown([sample, { ...sample, unsafe: true }]),
    [
      "| prompt | completion | reward | cost | combined | |",
      "|---|---|---|---|---|---|",
      "| a\\|b | c<br>d | 1.000 | -0.123 | 2.500 | safe |",
      "| a\\|b | c<br>d | 1.000 | -0.123 | 2.500 | unsafe |",
    ].join("\n"),
  );
});

test("samplesMarkdown() has a column for each score that any sample was given, empty where it does not apply", () => {
  const sample = { prompt: "a", completion: "b", reward: 1, cost: 0, combined: 1, unsafe: false };
  const [head, line, ...rows] = samplesMarkdown([
    { ...sample, scores: { "rewards/brief": 0.5, "costs/a|b": null } },
    { ...sample, scores: { "rewards/late": -2, "costs/a|b": 3 } },
  ]).split("\n");
  assert.equal(
    head,
    "| prompt | completion | reward | cost | combined | rewards/brief | costs/a\\|b | rewards/late | |",
  );
  assert.equal(line.match(/---/g)!.length, 9);
  assert.deepEqual(rows.map((row) => row.split(" | ").slice(5, 8)), [["0.500", "", ""], [
    "",
    "3.000",
    "-2.000",
  ]]);
});

test("histogramBuckets() has 30 buckets of one width; an inner edge belongs to the bucket on its right", () => {
  const buckets = histogramBuckets([0, 1, 60]);
  assert.equal(buckets.length, 30);
  assert.deepEqual([buckets[0], buckets[29]], [{ left: 0, right: 2, count: 2 }, {
    left: 58,
    right: 60,
    count: 1,
  }]);
  assert.deepEqual(histogramBuckets([0, 2, 4, 8], 4).map(({ count }) => count), [1, 1, 1, 1]);
  assert.deepEqual(histogramBuckets([-8, -4, -2, 0], 4).map(({ left, count }) => [left, count]), [
    [-8, 1],
    [-6, 0],
    [-4, 1],
    [-2, 2],
  ]);
});
