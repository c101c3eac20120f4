/**
 * W&B's server fails amid a run, answers nothing, or is away, and the run may be killed meanwhile: training goes on,
 * and in the end the server has what metrics.jsonl has.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { type Program, RUN } from "../e2e/program.ts";
import { ownServer } from "../unit/own_servers.ts";
import { asMetrics, plainRows } from "../unit/wandb_rows.ts";
import { startStubWandb, type StubWandb } from "../unit/wandb_server.ts";
import { countOf, isFull, tellRow } from "./counts.ts";
import { type Runtime, RUNTIMES, startIn } from "./runtimes.ts";
import { shortRunArgs } from "./short_run.ts";

const AWAY_MS = countOf(5, 120) * 1000;
/** Six steps while the server is away: the scorer sets the pace. On a busy machine the server is away for longer. */
const STEP_MS = AWAY_MS / 6;
const STEPS = 10;
const DEADLINE_MS = 5 * AWAY_MS + 300_000;
/** The server fails from the scores of this step on. */
const FAILS_AT = 3;
/** The run comes that far before the server is back; where it is killed, so far behind its checkpoint. */
const GOES_ON_TO = 6;
const SETTINGS = { report_to: ["wandb"], max_steps: STEPS, save_steps: 2, eval_jsonl: null, hist_every: 2 };

type Outage = Readonly<Record<"begin" | "end", (server: StubWandb) => unknown>>;
const OUTAGES: Readonly<Record<string, Outage>> = {
  "answers 503": { begin: (server) => server.failure = 503, end: (server) => server.failure = null },
  "refuses connections": { begin: (server) => server.stop(), end: (server) => server.start() },
  "answers nothing": {
    begin: (server) => server.failure = "hangs",
    end(server) {
      server.failure = null;
      if (!isFull) server.dropHung(); // else what hangs is for the run to give up, after a minute
    },
  },
};

const folder = mkdtempSync(join(tmpdir(), "grpo-wandb-"));
const cleanups: (() => unknown)[] = [];
const t = { after: (run: () => unknown) => void cleanups.push(run) };
after(async () => {
  for (const run of cleanups) await run();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * A scorer that is asked once a step, holds the answer of FAILS_AT until it is let go, and then takes its time. Steps
 * count on through a kill.
 */
async function pacedScorer() {
  const scorer = await ownServer(t);
  const awaited = new Map<number, () => void>();
  let letGo = () => {};
  const gate = new Promise<void>((resolve) => letGo = resolve);
  let steps = 0;
  scorer.manners = async (request, response) => {
    if (request.method === "POST") {
      awaited.get(++steps)?.();
      if (steps >= FAILS_AT) await gate.then(() => wait(STEP_MS));
    }
    await scorer.answerWell(request, response).catch(() => {}); // of a program that was killed
  };
  const reaches = (step: number) => new Promise<void>((resolve) => awaited.set(step, resolve));
  return { scorer, reaches, letGo };
}

const rowsIn = (out: string) =>
  readFileSync(join(out, RUN, "metrics.jsonl"), "utf8").trim().split("\n")
    .map((line) => JSON.parse(line) as MetricRow);

interface Shown {
  /** Rows that the server had when it failed. */
  before: number;
  rows: number;
}

/** A run with an outage. @throws AssertionError when the server's history is not that of metrics.jsonl */
async function runWith(outage: Outage, runtime: Runtime, isKilled: boolean): Promise<Shown> {
  const dir = mkdtempSync(join(folder, "run-"));
  const out = join(dir, "out");
  mkdirSync(out);
  const server = await startStubWandb();
  t.after(() => server.close().catch(() => {}));
  const { scorer, reaches, letGo } = await pacedScorer();
  const env = { WANDB_API_KEY: "0".repeat(40), WANDB_BASE_URL: server.url, WANDB_MODE: "online" };
  const args = shortRunArgs(out, scorer.url, SETTINGS);
  const start = () => startIn(runtime, args, { env, deadlineMs: DEADLINE_MS });
  const history = () => [...server.runs.values()].flatMap((run) => run.history);

  let program: Program = start();
  await program.reaches(reaches(FAILS_AT), "the outage");
  while (history().length === 0) await program.reaches(wait(20), "a row is on the server");
  const before = history().length;
  const goesOn = reaches(GOES_ON_TO);
  const began = performance.now();
  await outage.begin(server);
  letGo();
  await program.reaches(goesOn, `step ${GOES_ON_TO}`); // training does not wait
  if (isKilled) {
    program.signal("SIGKILL");
    assert.equal((await program.finished).signal, "SIGKILL");
    assert.ok(rowsIn(out).length < STEPS, "the run was killed amid its steps");
    program = start();
  }
  await wait(Math.max(0, AWAY_MS - (performance.now() - began)));
  assert.equal(history().length, before, "the server had nothing while it was away");
  await outage.end(server);
  const { code, output } = await program.finished;
  assert.equal(code, 0, output);

  assert.equal(server.runs.size, 1, "one run");
  const [run] = server.runs.values();
  const rows = run.history.map((line) => JSON.parse(line));
  assert.deepEqual(
    rows.map((row) => row._step),
    Array.from({ length: STEPS }, (_, i) => i + 1),
    "no gap, none twice",
  );
  assert.deepEqual(asMetrics(rows), plainRows(rowsIn(out)));
  assert.equal(run.exitCode, 0, output);
  if (!isKilled) assert.equal(server.repeats(), 0);
  return { before, rows: rows.length };
}

describe(`W&B's server is away for ${AWAY_MS / 1000} s amid a run`, () => {
  for (const isKilled of [false, true]) {
    // By default each in one runtime; the kinds of outage at once, for a run waits most of the time.
    const runtimes = isFull ? RUNTIMES : [RUNTIMES[Number(isKilled)]];
    for (const runtime of runtimes) {
      const kill = isKilled ? ", with SIGKILL meanwhile" : "";
      it(`in ${runtime}${kill}: afterwards it has every row of metrics.jsonl, once`, async () => {
        const runs = await Promise.allSettled(
          Object.entries(OUTAGES).map(async ([name, outage]) => ({
            name,
            ...await runWith(outage, runtime, isKilled),
          })),
        );
        const shown = runs.map((run) => {
          if (run.status === "rejected") throw run.reason;
          return run.value;
        });
        tellRow(
          `W&B's server is away for ${AWAY_MS / 1000} s amid a run in ${runtime}${kill}${
            isKilled ? " and the same command again" : ""
          }: training goes on, and afterwards its history is that of metrics.jsonl, no gap, no repeat`,
          shown.map(({ name, rows, before }) => `${name}: ${rows} rows, ${before} from before`).join("; "),
        );
      });
    }
  }
});
