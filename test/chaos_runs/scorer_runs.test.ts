/** Whole runs whose scorer fails: they go on with the same numbers, or end with a checkpoint from which they do. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { rowsOf, runFolderOf } from "../e2e/config_read.ts";
import {
  closeStage,
  freshFolder,
  openStage,
  type Ran,
  runCommand,
  scratch,
  type Settings,
  type Stage,
} from "../e2e/config_run.ts";
import { metricRows } from "../e2e/program.ts";
import { type OwnServer, ownServer } from "../unit/own_servers.ts";
import { countOf, tellRow } from "./counts.ts";

/** A scorer is away for so long. */
const AWAY_MS = countOf(3, 300) * 1000;
const STEPS = 3;
const SETTINGS: Settings = {
  max_steps: STEPS,
  scorer_batch_size: 4,
  scorer_retry_max_s: 2 * AWAY_MS / 1000 + 20,
};

type Manners = NonNullable<OwnServer["manners"]>;
const status = (code: number, headers: Record<string, string> = {}): Manners => (_, response) =>
  void response.writeHead(code, headers).end("no");
const says = (text: string): Manners => (_, response) => void response.end(text);

/** What a fault does to a run. */
interface Setting {
  servers: OwnServer[];
  settings: Settings;
}

/** Lets a server behave otherwise from its second request for scores on, so many times. */
function misbehaves(server: OwnServer, manners: Manners, times = Infinity): void {
  let posts = 0;
  let left = times;
  server.manners = (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === "POST" && ++posts > 2 && left-- > 0) return manners(request, response);
    void server.answerWell(request, response);
  };
}

const weightsHash = (ran: Ran) =>
  createHash("sha256").update(readFileSync(join(runFolderOf(ran), "model.safetensors"))).digest("hex");

describe("a run whose scorer fails", () => {
  let stage: Stage;
  let whole: { rows: unknown[]; weights: string };
  const cleanups: (() => unknown)[] = [];
  const t = { after: (run: () => unknown) => void cleanups.push(run) };
  const train = (settings: Settings) => runCommand(stage, "train", { ...SETTINGS, ...settings });

  /** The run's settings and servers, of which the first has begun to fail. */
  async function set(count: number): Promise<Setting> {
    const servers = await Promise.all(Array.from({ length: count }, () => ownServer(t)));
    return { servers, settings: { scorer_url: servers.map(({ url }) => url).join(",") } };
  }

  function assertWhole(ran: Ran): void {
    assert.equal(ran.error, null, String(ran.error));
    assert.deepEqual(rowsOf(ran), whole.rows);
    assert.equal(weightsHash(ran), whole.weights);
  }

  before(async () => {
    stage = await openStage();
    const { settings } = await set(1);
    const ran = await train(settings);
    assert.equal(ran.code, 0, String(ran.error));
    whole = { rows: rowsOf(ran), weights: weightsHash(ran) };
    assert.equal(whole.rows.length, STEPS);
  });
  after(async () => {
    for (const run of cleanups) await run();
    await closeStage(stage);
    tellRow(
      "runs whose scorer fails (node)",
      `${passes.length} faults that pass: the same metrics and weights; ${ends.length} that do not: a checkpoint, and ` +
        "the same metrics and weights once they were resumed",
    );
    tellRow(
      `a scorer that is away for ${AWAY_MS / 1000} s amid a run (node)`,
      "the run goes on, metrics and weights the same bits",
    );
  });

  const passes: readonly [name: string, fail: (setting: Setting) => void, servers?: number][] = [
    ["three answers 500", ({ servers: [one] }) => misbehaves(one, status(500), 3)],
    ["an answer 408, 425 or 502", ({ servers: [one] }) => {
      const codes = [408, 425, 502];
      misbehaves(one, (...args) => status(codes.pop()!)(...args), 3);
    }],
    ["429 with Retry-After", ({ servers: [one] }) => misbehaves(one, status(429, { "retry-after": "1" }), 1)],
    ["a connection that is reset", ({ servers: [one] }) => {
      misbehaves(one, (_, response) => void response.socket!.resetAndDestroy(), 2);
    }],
    ["half an answer", ({ servers: [one] }) => {
      misbehaves(one, (_, response) => {
        response.writeHead(200, { "content-length": "500" });
        response.write('{"rewards": [1, 1', () => response.socket!.destroy());
      }, 2);
    }],
    ["a request that is never answered", ({ servers: [one], settings }) => {
      settings.scorer_timeout = 0.5;
      misbehaves(one, () => {}, 1);
    }],
    ["a scorer that is away for a while", ({ servers: [one] }) => {
      misbehaves(one, () => {
        void one.stop().then(() => setTimeout(() => void one.start(), AWAY_MS));
      }, 1);
    }],
    ["a scorer that comes up elsewhere", ({ servers: [one, other], settings }) => {
      writeFileSync(scratch("moved.url"), `${one.url}\n`);
      settings.scorer_url = `file:${scratch("moved.url")}`;
      misbehaves(one, () => {
        writeFileSync(scratch("moved.url"), `${other.url}\n`);
        void one.stop();
      }, 1);
    }, 2],
    ["a token that is made anew", ({ servers: [one], settings }) => {
      writeFileSync(scratch("guarded.url"), `${one.url}\n`);
      writeFileSync(scratch("guarded.url.token"), "first\n", { mode: 0o600 });
      settings.scorer_url = `file:${scratch("guarded.url")}`;
      let wanted = "first";
      let posts = 0;
      one.manners = (request, response) => {
        if (request.method === "POST" && ++posts === 3) {
          writeFileSync(scratch("guarded.url.token"), `${wanted = "second"}\n`);
        }
        if (request.headers.authorization !== `Bearer ${wanted}`) return status(401)(request, response);
        void one.answerWell(request, response);
      };
    }],
    ["one of two scorers that goes away for good", ({ servers: [one] }) => {
      misbehaves(one, () => void one.stop(), 1);
    }, 2],
    ["one of two scorers that is slow", ({ servers: [one] }) => {
      misbehaves(
        one,
        (request, response) => void setTimeout(() => void one.answerWell(request, response), 300),
      );
    }, 2],
  ];
  for (const [name, fail, servers = 1] of passes) {
    it(`${name}: goes on, with the metrics and weights of one that was not disturbed`, async () => {
      const setting = await set(servers);
      fail(setting);
      const ran = await train(setting.settings);
      assertWhole(ran);
      const waits = metricRowsWithTimes(ran).map((row) => row["scorer/retries"] + row["scorer/wait_s"]);
      const isWaited = !/slow/.test(name);
      assert.equal(waits.some((value) => value > 0), isWaited, `${waits}`);
    });
  }

  const ends: readonly [name: string, manners: Manners, error: RegExp][] = [
    ["NaN", says('{"rewards": [NaN, 1, 1, 1], "costs": [1, 1, 1, 1]}'), /broke the contract: .*not JSON/],
    [
      "null for a score",
      says('{"rewards": [null, 1, 1, 1], "costs": [1, 1, 1, 1]}'),
      /"rewards"\[0\] is null/,
    ],
    ["too few scores", says('{"rewards": [1, 1], "costs": [1, 1, 1, 1]}'), /"rewards" has 2 numbers/],
    [
      "scores of 1e9",
      says('{"rewards": [1, 1, 1e9, 1], "costs": [1, 1, 1, 1]}'),
      /"rewards"\[2\] is 1000000000/,
    ],
    ["half of the JSON", says('{"rewards": [1, 1, 1, 1], "cos'), /not JSON/],
    [
      "a redirect to another host",
      status(307, { location: "http://127.0.0.1:9/score_batch" }),
      /a redirect to/,
    ],
    ["a refusal", status(422), /answered 422: no/],
    ["503 for longer than scorer_retry_max_s", status(503), /is not responding[^]*last error: 503/],
  ];
  for (const [name, manners, error] of ends) {
    it(`${name}: ends with a checkpoint of the last whole step, and resumed it is as if nothing had been`, async () => {
      const { servers: [one], settings } = await set(1);
      misbehaves(one, manners);
      const output_dir = freshFolder();
      const ended = await train({ ...settings, output_dir, scorer_retry_max_s: 0.3 });
      assert.match(String(ended.error), error);
      assert.ok(existsSync(join(runFolderOf(ended), "checkpoint-1")), "the last whole step is saved");
      one.manners = null;
      assertWhole(await train({ ...settings, output_dir }));
    });
  }
});

/** Rows with what measures the machine. */
function metricRowsWithTimes(ran: Ran): Record<string, number>[] {
  assert.equal(metricRows(runFolderOf(ran)).length, STEPS);
  return readFileSync(join(runFolderOf(ran), "metrics.jsonl"), "utf8").trim().split("\n").map((line) =>
    JSON.parse(line)
  );
}
