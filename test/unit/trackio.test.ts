/** A run in trackio: what its server is sent, whatever becomes of the run and the server. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { openTracker, type TrackerConfig } from "../../src/tracking/tracker.ts";
import { trackio, trackioSettings } from "../../src/tracking/trackio.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG = {
  hist_every: 2,
  scatter_every: 0,
  scatter_max_points: 100,
  debug_log_every: 1,
  debug_log_n_samples: 4,
  eval_table_n_samples: 3,
  beta: 0.1,
  seed: 3,
  run_name: null,
  project: "grpo_alignment",
} as TrackerConfig;
const TEXTS = { prompts: ["p", "p", "p", "p"], completions: ["a", "b", "c", "d"] };
const QUICK = { firstMs: 5, mostMs: 20, lastMs: 2000 };

interface Log {
  project: string;
  run: string;
  run_id: string;
  step: number;
  metrics: Record<string, unknown>;
  log_id: string;
  config: unknown;
}

/** A server that takes entries as trackio's does: what has the id of one before is not taken again. */
async function withServer(
  body: (server: { url: string; logs: Map<string, Log>; status: number }) => Promise<void>,
): Promise<void> {
  const logs = new Map<string, Log>();
  const http = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const isRight = request.url === "/api/bulk_log" && request.headers["x-trackio-write-token"] === "secret";
    const status = isRight ? server.status : 400;
    if (status === 200) {
      for (const log of JSON.parse(text).logs as Log[]) if (!logs.has(log.log_id)) logs.set(log.log_id, log);
    }
    response.writeHead(status, { "content-type": "application/json" }).end('{"data": null}');
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const server = { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, logs, status: 200 };
  try {
    await body(server);
  } finally {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  }
}

const settingsOf = (url: string) => trackioSettings({ TRACKIO_SERVER_URL: `${url}/?write_token=secret` });

describe("a run in trackio", () => {
  it("has each row, the evaluation and the histograms under its steps, once, also after a kill and an outage", () =>
    withServer((server) =>
      withScratchFolder(async (dir) => {
        const messages: string[] = [];
        const open = (resume?: Parameters<typeof openTracker>[0]["resume"], rowsBefore = []) =>
          openTracker({
            runDir: dir,
            config: CONFIG,
            sinks: [trackio(settingsOf(server.url), QUICK)],
            onMessage: (text) => messages.push(text),
            promptCount: 250,
            resume,
            rowsBefore,
          });
        const first = await open();
        const rows = [await first.logStep(stepRecord({ step: 1 }), TEXTS)];
        rows.push(await first.logStep(stepRecord({ step: 2 }), TEXTS));
        await first.close();
        server.status = 503;
        const resumed = await open({ step: 2, state: first.state() }, rows as never);
        rows.push(await resumed.logStep(stepRecord({ step: 3 }), TEXTS));
        const evaluation = await resumed.logEval({
          ...stepRecord({}),
          step: 3,
          lambdas: [{ name: null, value: 1 }],
        }, TEXTS);
        while (messages.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        server.status = 200;
        await resumed.close();
        const logs = [...server.logs.values()];
        const rowsOf = (kind: string) =>
          logs.filter(({ log_id }) => log_id.endsWith(`-${kind}`)).map(({ step, metrics }) => ({
            step,
            ...metrics,
          }));
        assert.deepEqual(rowsOf("step"), rows);
        assert.deepEqual(rowsOf("evaluation"), [evaluation]);
        assert.deepEqual(logs.filter(({ metrics }) => "cost/dist" in metrics).map(({ step }) => step), [2]);
        assert.equal(new Set(logs.map(({ run_id }) => run_id)).size, 1);
        assert.deepEqual([...new Set(logs.map(({ run }) => run))], ["grpo_align_beta0.1_seed3_unified_n250"]);
        assert.deepEqual(logs[0].config, CONFIG);
        assert.match(messages[0], /^trackio cannot be reached \(503 /);
        assert.deepEqual(messages.slice(1), ["trackio is back, and gets what it has missed"]);
      })
    ));

  it("is asked for with the address and token of its server, which are named where they are missing", () => {
    assert.deepEqual(trackioSettings({ TRACKIO_SERVER_URL: "http://h:1/", TRACKIO_WRITE_TOKEN: "t" }), {
      serverUrl: "http://h:1",
      token: "t",
    });
    assert.throws(
      () => trackioSettings({}),
      /^RangeError: report_to trackio needs TRACKIO_SERVER_URL, .* got ""/,
    );
    assert.throws(() => trackioSettings({ TRACKIO_SERVER_URL: "h:1" }), /TRACKIO_SERVER_URL/);
    assert.throws(() => trackioSettings({ TRACKIO_SERVER_URL: "http://h:1" }), /needs TRACKIO_WRITE_TOKEN/);
  });
});
