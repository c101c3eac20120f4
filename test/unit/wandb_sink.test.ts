/** A run in W&B: what its file and its server have of it, whatever becomes of the run and the server. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import {
  openTracker,
  type Tracker,
  type TrackerConfig,
  type TrackerState,
} from "../../src/tracking/tracker.ts";
import { recordsBehind } from "../../src/tracking/wandb/record_log.ts";
import { type ReadRecord, readRecord } from "../../src/tracking/wandb/records.ts";
import { type Environment, knowsWandb, wandbSettings } from "../../src/tracking/wandb/settings.ts";
import { wandb } from "../../src/tracking/wandb/sink.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { stepRecord } from "./step_record.ts";
import { asMetrics, plainRows } from "./wandb_rows.ts";
import { startStubWandb, type StubWandb } from "./wandb_server.ts";

const CONFIG = {
  hist_every: 2,
  scatter_every: 2,
  scatter_max_points: 100,
  debug_log_every: 1,
  debug_log_n_samples: 1,
  eval_table_n_samples: 3,
  beta: 0.1,
  seed: 3,
  run_name: null,
  project: "grpo_alignment",
  entity: null,
  output_dir: "/somewhere/outputs",
} as TrackerConfig;
const TEXTS = { prompts: ["p", "p", "p", "p"], completions: ["a", "b", "c", "\u{1F600}"] };
const KEY = "0123456789abcdef0123456789abcdef01234567";
const noNetrc = () => null;
const QUICK = { lookMs: 5, heartbeatMs: 50, mostMs: 20 };

interface Logged {
  tracker: Tracker;
  rows: MetricRow[];
  messages: string[];
}

interface Begun {
  delays?: typeof QUICK;
  environment?: Environment;
  resume?: { step: number; state: TrackerState; rowsBefore: MetricRow[] };
}

async function begin(
  runDir: string,
  { environment = {}, resume, delays = QUICK }: Begun = {},
): Promise<Logged> {
  await mkdir(runDir, { recursive: true });
  const messages: string[] = [];
  const rows: MetricRow[] = resume?.rowsBefore.map((row) => ({ ...row })) ?? [];
  const tracker = await openTracker({
    runDir,
    config: CONFIG,
    sinks: [wandb(wandbSettings(environment, noNetrc), delays)],
    onMessage: (text) => messages.push(text),
    promptCount: 250,
    rowsBefore: resume?.rowsBefore,
    resume,
  });
  return { tracker, rows, messages };
}

async function logSteps({ tracker, rows }: Logged, steps: readonly number[], loss = 0.125): Promise<void> {
  for (const step of steps) rows.push(await tracker.logStep({ ...stepRecord({ step }), loss }, TEXTS));
}

async function logEvaluation({ tracker, rows }: Logged, step: number): Promise<void> {
  Object.assign(
    rows.at(-1)!,
    await tracker.logEval({ ...stepRecord({}), step, lambdas: [{ name: null, value: 1 }] }, TEXTS),
  );
}

/** The folder and the id of the run's only run in W&B. */
async function knownRun(runDir: string): Promise<{ folder: string; id: string }> {
  const { folder, id } = JSON.parse(await readFile(join(runDir, "wandb_run.json"), "utf8"));
  return { folder: join(runDir, folder), id };
}

/** Its records. */
async function recordsOf(runDir: string): Promise<ReadRecord[]> {
  const { folder, id } = await knownRun(runDir);
  const records: ReadRecord[] = [];
  for await (const { payload } of recordsBehind(join(folder, `run-${id}.wandb`), 0)) {
    records.push(readRecord(payload));
  }
  return records;
}

const valuesOf = ({ items }: ReadRecord) =>
  Object.fromEntries(items.map(([path, json]) => [path.join("."), JSON.parse(json)]));
const historyOf = async (runDir: string) =>
  (await recordsOf(runDir)).filter(({ kind }) => kind === "history").map(valuesOf);

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries++) {
    assert.ok(tries < 2000, "in 10 s");
    await sleep(5);
  }
}

describe("a run in W&B without a key", () => {
  it("has a row for each step with all that was logged of it, both tables, scatter plots and histograms", () =>
    withScratchFolder(async (dir) => {
      const logged = await begin(dir);
      await logSteps(logged, [1, 2, 3]);
      await logEvaluation(logged, 3);
      await logged.tracker.finish(3);
      await logged.tracker.close();
      const history = await historyOf(dir);
      assert.deepEqual(asMetrics(history), plainRows(logged.rows));
      assert.deepEqual(history.map((row) => row["train/global_step"]), [1, 2, 3]);
      assert.deepEqual(history.map((row) => "helpfulness/dist" in row && "cost/dist" in row), [
        false,
        true,
        false,
      ]);
      assert.equal(history[1]["cost/dist"].values.length + 1, history[1]["cost/dist"].bins.length);
      for (const key of ["debug/train_batch_samples", "eval/samples", "scatter/reward_vs_cost_table"]) {
        const { path, nrows, ncols } = history[2][key];
        const { folder } = await knownRun(dir);
        const { columns, data } = JSON.parse(await readFile(join(folder, "files", path), "utf8"));
        assert.deepEqual([data.length, columns.length], [nrows, ncols], key);
        assert.ok(data.every((row: unknown[]) => row.length === ncols), key);
      }
      // All that a step trained on; of an evaluation as many as are asked for.
      assert.deepEqual(
        [history[0]["debug/train_batch_samples"].nrows, history[2]["eval/samples"].nrows],
        [4, 3],
      );
      assert.deepEqual(history.map((row) => row["debug/batch_size"]), [4, 4, 4]);
      const [system] = (await recordsOf(dir)).filter(({ kind }) => kind === "system").map(valuesOf);
      assert.ok(system["system.proc.memory.rssMB"] > 0, "a run of a second has what it took");
      const panels = (await recordsOf(dir)).filter(({ kind }) => kind === "config").map(({ items }) =>
        items[0][0][2]
      );
      assert.deepEqual(panels, ["scatter/reward_vs_cost", "scatter/eval_reward_vs_cost"]);
      const { folder } = await knownRun(dir);
      assert.deepEqual(logged.messages, [
        `W&B has this run when it is uploaded: wandb beta sync "${folder}"`,
      ]);
      assert.ok((await readdir(join(dir, "wandb"))).includes("latest-run"));
    }));

  it("goes on in the same file after a kill: no step twice, none missing", () =>
    withScratchFolder(async (dir) => {
      const first = await begin(dir);
      await logSteps(first, [1, 2]);
      const state = first.tracker.state();
      const rowsBefore = [...first.rows];
      await logSteps(first, [3, 4], 99); // after the checkpoint; the kill takes the row of step 4
      const resumed = await begin(dir, { resume: { step: 2, state, rowsBefore } });
      await logSteps(resumed, [3, 4, 5]);
      await resumed.tracker.close();
      assert.deepEqual(asMetrics(await historyOf(dir)), plainRows(resumed.rows));
    }));

  it("goes on in the same file where its folder was moved", () =>
    withScratchFolder(async (dir) => {
      const first = await begin(join(dir, "here"));
      await logSteps(first, [1, 2]);
      await first.tracker.close();
      await rename(join(dir, "here"), join(dir, "there"));
      const resume = { step: 2, state: first.tracker.state(), rowsBefore: [...first.rows] };
      const resumed = await begin(join(dir, "there"), { resume });
      await logSteps(resumed, [3]);
      await resumed.tracker.close();
      assert.deepEqual(asMetrics(await historyOf(join(dir, "there"))), plainRows(resumed.rows));
      assert.equal((await readdir(join(dir, "there", "wandb"))).length, 2, "the run and the link to it");
    }));

  it("gets the row that a kill took with its checkpoint, and all rows where W&B is new to the run", () =>
    withScratchFolder(async (dir) => {
      const first = await begin(dir);
      await logSteps(first, [1, 2]); // the row of step 2 waits for the next step
      const resume = { step: 2, state: first.tracker.state(), rowsBefore: first.rows };
      for (const folder of [dir, join(dir, "elsewhere")]) {
        const resumed = await begin(folder, { resume });
        await logSteps(resumed, [3]);
        await resumed.tracker.close();
        assert.deepEqual(asMetrics(await historyOf(folder)), plainRows(resumed.rows));
      }
    }));
});

describe("a run in W&B with a key", () => {
  const withServer = (body: (server: StubWandb, dir: string, begun: Begun) => Promise<void>) =>
    withScratchFolder(async (dir) => {
      const server = await startStubWandb();
      try {
        await body(server, dir, { environment: { WANDB_API_KEY: KEY, WANDB_BASE_URL: server.url } });
      } finally {
        await server.close();
      }
    });
  const rowsAt = (server: StubWandb) =>
    asMetrics([...server.runs.values()][0].history.map((line) => JSON.parse(line)));

  it("is on the server as it is in metrics.jsonl, with config, files and its end", () =>
    withServer(async (server, dir, begun) => {
      const logged = await begin(dir, begun);
      await logSteps(logged, [1, 2, 3]);
      await logEvaluation(logged, 3);
      await logged.tracker.finish(3);
      await logged.tracker.close();
      const [[id, run]] = server.runs;
      assert.deepEqual(rowsAt(server), plainRows(logged.rows));
      assert.equal(run.displayName, "grpo_align_beta0.1_seed3_unified_n250");
      assert.equal(run.group, "outputs");
      assert.equal(run.exitCode, 0);
      assert.equal(run.config.beta.value, 0.1);
      const { visualize } = run.config._wandb.value as { visualize: object };
      assert.deepEqual(Object.keys(visualize), ["scatter/reward_vs_cost", "scatter/eval_reward_vs_cost"]);
      const named = run.history.flatMap((line) =>
        [...line.matchAll(/"path":"([^"]+)"/g)].map(([, path]) => path)
      );
      assert.deepEqual([...run.files.keys()].sort(), [...new Set(named)].sort());
      assert.deepEqual(logged.messages, [
        `W&B shows this run at ${server.url}/owner/grpo_alignment/runs/${id}`,
      ]);
      assert.deepEqual([...server.keys], [`Basic ${Buffer.from(`api:${KEY}`).toString("base64")}`]);
    }));

  it("is whole there after the server was away, and training did not wait", () =>
    withServer(async (server, dir, begun) => {
      const logged = await begin(dir, begun);
      await logSteps(logged, [1, 2]);
      await until(() => server.runs.size > 0 && server.runs.values().next().value!.history.length > 0);
      server.failure = 503;
      const before = performance.now();
      await logSteps(logged, [3, 4, 5, 6]);
      assert.ok(performance.now() - before < 2000);
      await until(() => logged.messages.some((text) => text.includes("cannot be reached (503")));
      server.failure = null;
      await logSteps(logged, [7]);
      await logged.tracker.close();
      assert.deepEqual(rowsAt(server), plainRows(logged.rows));
      assert.equal(server.repeats(), 0);
      assert.ok(logged.messages.includes("W&B is back, and gets what it has missed"));
    }));

  it("is whole there where the server comes back as the run ends, between two looks a minute apart", () =>
    withServer(async (server, dir, begun) => {
      server.failure = 503;
      const slow = { ...QUICK, lookMs: 60_000, mostMs: 60_000 };
      const logged = await begin(dir, { ...begun, delays: slow });
      await logSteps(logged, [1, 2]);
      await until(() => server.keys.size > 0);
      server.failure = null;
      await logged.tracker.close();
      assert.deepEqual(rowsAt(server), plainRows(logged.rows));
    }));

  it("is whole there after a kill: rows that the run makes anew take the place of the old", () =>
    withServer(async (server, dir, begun) => {
      const first = await begin(dir, begun);
      await logSteps(first, [1, 2]);
      const resume = { step: 2, state: first.tracker.state(), rowsBefore: [...first.rows] };
      await logSteps(first, [3, 4], 99);
      await until(() => server.runs.size > 0 && server.runs.values().next().value!.history.length === 3);
      await first.tracker.close();
      const resumed = await begin(dir, { ...begun, resume });
      await logSteps(resumed, [3, 4, 5]);
      await resumed.tracker.finish(5);
      await resumed.tracker.close();
      assert.equal(server.runs.size, 1);
      assert.deepEqual(rowsAt(server), plainRows(resumed.rows));
    }));

  it("says how to upload it where the server refuses the key, and keeps all", () =>
    withServer(async (server, dir, begun) => {
      server.failure = 401;
      const logged = await begin(dir, begun);
      await logSteps(logged, [1, 2]);
      await logged.tracker.close();
      assert.match(
        logged.messages[0],
        /^W&B gets no more of this run: 127\.0\.0\.1:\d+ answers 401 not now$/,
      );
      assert.match(logged.messages[1], /^W&B has not got all of this run; the rest: wandb beta sync "/);
      assert.deepEqual(asMetrics(await historyOf(dir)), plainRows(logged.rows));
    }));

  it("writes the key to no file and says it in no message", () =>
    withServer(async (server, dir, begun) => {
      const logged = await begin(dir, begun);
      await logSteps(logged, [1]);
      server.failure = 403;
      await logged.tracker.close();
      const texts = [...Object.values(await contentsOf(dir)).map(String), ...logged.messages];
      assert.ok(texts.length > 3);
      assert.ok(texts.every((text) => !text.includes(KEY)));
    }));
});

describe("W&B's settings", () => {
  it("come from its environment variables and ~/.netrc", () => {
    const keys = ["1", "2", "3"].map((digit) => `local-${KEY.replaceAll("0", digit)}`);
    const netrc = `machine api.wandb.ai\n  login user # me\n  password ${
      keys[0]
    }\nmachine host.example login user password ${keys[1]}\n`;
    const read = (environment: Environment) => wandbSettings(environment, () => netrc);
    assert.equal(read({}).apiKey, keys[0]);
    assert.equal(read({ WANDB_BASE_URL: "https://host.example/" }).apiKey, keys[1]);
    assert.equal(read({ WANDB_BASE_URL: "https://other.example" }).apiKey, null);
    assert.equal(read({ WANDB_API_KEY: keys[2] }).apiKey, keys[2]);
    assert.deepEqual(read({ WANDB_TAGS: "a, b," }).tags, ["a", "b"]);
    const { project, entity, group, runId, dir, name } = read({
      WANDB_PROJECT: "p",
      WANDB_ENTITY: "e",
      WANDB_RUN_GROUP: "g",
      WANDB_RUN_ID: "i",
      WANDB_DIR: "/d",
      WANDB_NAME: "n",
    });
    assert.deepEqual({ project, entity, group, runId, dir, name }, {
      project: "p",
      entity: "e",
      group: "g",
      runId: "i",
      dir: "/d",
      name: "n",
    });
  });

  it("are online with a key, else offline; the mode says otherwise", () => {
    const modeOf = (environment: Environment) => wandbSettings(environment, noNetrc).mode;
    assert.equal(modeOf({ WANDB_API_KEY: KEY }), "online");
    assert.equal(modeOf({}), "offline");
    assert.equal(modeOf({ WANDB_MODE: "online" }), "offline");
    assert.equal(modeOf({ WANDB_MODE: "dryrun", WANDB_API_KEY: KEY }), "offline");
    assert.equal(modeOf({ WANDB_MODE: "disabled", WANDB_API_KEY: KEY }), "disabled");
  });

  it("are a user's of W&B where a key or a mode is given", () => {
    assert.ok(!knowsWandb({}, noNetrc));
    assert.ok(knowsWandb({ WANDB_MODE: "offline" }, noNetrc));
    assert.ok(knowsWandb({ WANDB_API_KEY: KEY }, noNetrc));
    assert.ok(!knowsWandb({ WANDB_API_KEY: KEY, WANDB_MODE: "disabled" }, noNetrc));
  });

  it("with what can be no key are refused, without a word of it, unless nothing is uploaded", () => {
    const cut = KEY.slice(1);
    for (const key of [cut, `${cut} ${cut}`]) {
      assert.throws(() => wandbSettings({ WANDB_API_KEY: key }, noNetrc), (error: Error) => {
        assert.match(
          error.message,
          /^WANDB_API_KEY must be a key of W&B, 40 or more .* got (39|79) characters/,
        );
        return error instanceof RangeError && !error.message.includes(cut);
      });
      assert.equal(wandbSettings({ WANDB_API_KEY: key, WANDB_MODE: "offline" }, noNetrc).mode, "offline");
    }
    assert.throws(
      () => wandbSettings({}, () => "machine api.wandb.ai login user password short"),
      /^RangeError: The password of api\.wandb\.ai in ~\/\.netrc must be a key of W&B.* got 5 characters/,
    );
  });

  it("that W&B does not know are refused with what it knows", () => {
    assert.throws(() => wandbSettings({ WANDB_MODE: "on" }, noNetrc), {
      name: "RangeError",
      message: 'WANDB_MODE must be online, offline or disabled, got "on"; correct or unset it',
    });
    assert.throws(
      () => wandbSettings({ WANDB_BASE_URL: "api.wandb.ai" }, noNetrc),
      /^RangeError: WANDB_BASE_URL must be/,
    );
  });
});
