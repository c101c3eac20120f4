/** trackio: rows, histograms and config go to its server by HTTP, in the background; tables it takes from Python. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { displayName } from "./display_name.ts";
import type { MetricRow } from "./metrics.ts";
import type { RunFacts, Sink } from "./sink.ts";
import { trackedHistogram } from "./tracked_histogram.ts";
import { writeWhole } from "./written_whole.ts";

/** In the run's own folder: under which id trackio knows the run. */
const RUN_FILE = "trackio_run.json";
const TIMEOUT_MS = 30_000;
const ENTRIES_AT_ONCE = 200;
/** Answers below 500 that asking again may change. */
const PASSING = new Set([408, 425, 429]);

class Refusal extends Error {}

interface Entry {
  project: string;
  run: string;
  run_id: string;
  step: number;
  metrics: Readonly<Record<string, unknown>>;
  /** What came with the same one before is not taken again. */
  log_id: string;
  config: Readonly<Record<string, unknown>>;
}

export interface TrackioSettings {
  /** Without a slash at its end. */
  serverUrl: string;
  token: string;
}

/**
 * @param environment as process.env: TRACKIO_SERVER_URL, which may end in ?write_token=..., and TRACKIO_WRITE_TOKEN
 * @throws RangeError when one of them is missing, or the address is none
 */
export function trackioSettings(environment: Readonly<Record<string, string | undefined>>): TrackioSettings {
  const given = environment.TRACKIO_SERVER_URL?.trim() ?? "";
  const url = URL.parse(given);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new RangeError(
      `report_to trackio needs TRACKIO_SERVER_URL, the address that \`trackio show\` prints, got "${given}"; set it, ` +
        "or leave trackio out of report_to",
    );
  }
  const token = url.searchParams.get("write_token") ?? environment.TRACKIO_WRITE_TOKEN?.trim() ?? "";
  if (token === "") {
    throw new RangeError(
      "report_to trackio needs TRACKIO_WRITE_TOKEN, or an address with ?write_token=..., as `trackio show` prints it",
    );
  }
  return { serverUrl: `${url.origin}${url.pathname}`.replace(/\/+$/, ""), token };
}

interface Delays {
  /** The first after a fault, doubled at each further one. */
  firstMs: number;
  mostMs: number;
  /** How long a run that has ended waits for what is not sent yet. */
  lastMs: number;
}

export function trackio(
  { serverUrl, token }: TrackioSettings = trackioSettings(process.env),
  { firstMs, mostMs, lastMs }: Delays = { firstMs: 2000, mostMs: 60_000, lastMs: 30_000 },
): Sink {
  const queue: Entry[] = [];
  let add: (step: number, kind: string, metrics: Entry["metrics"]) => void = () => {};
  let onMessage: RunFacts["onMessage"] = () => {};
  let sending: Promise<void> | null = null;
  const stop = new AbortController();

  async function post(logs: readonly Entry[]): Promise<void> {
    const response = await fetch(`${serverUrl}/api/bulk_log`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-trackio-write-token": token },
      body: JSON.stringify({ logs, hf_token: null }),
      redirect: "error",
      signal: AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const text = await response.text();
    if (response.ok) return;
    const said = `${response.status} ${text.slice(0, 200)}`;
    throw response.status < 500 && !PASSING.has(response.status) ? new Refusal(said) : new Error(said);
  }

  /** Sends what waits, in order, until nothing does. */
  async function send(): Promise<void> {
    for (let faults = 0; queue.length > 0 && !stop.signal.aborted;) {
      const batch = queue.slice(0, ENTRIES_AT_ONCE);
      try {
        await post(batch);
        queue.splice(0, batch.length);
        if (faults >= 3) onMessage("trackio is back, and gets what it has missed");
        faults = 0;
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof Refusal) {
          onMessage(`trackio gets no more of this run: ${serverUrl} answers ${error.message}`);
          return stop.abort();
        }
        if (++faults === 3) {
          onMessage(
            `trackio cannot be reached (${(error as Error).message}): it gets what it misses when it is back`,
          );
        }
        const delay = Math.min(mostMs, firstMs * 2 ** Math.min(faults - 1, 10));
        await sleep(delay, undefined, { signal: stop.signal, ref: false }).catch(() => {});
      }
    }
  }

  const addRow = ({ step, ...metrics }: MetricRow) =>
    add(step, "eval/total_samples" in metrics ? "evaluation" : "step", metrics);

  return {
    name: "trackio",
    isRecord: false,
    async start(facts) {
      const { runDir, config, rowsBefore } = facts;
      onMessage = facts.onMessage;
      const path = join(runDir, RUN_FILE);
      const id: string = existsSync(path)
        ? JSON.parse(readFileSync(path, "utf8")).id
        : randomBytes(8).toString("hex");
      await writeWhole(path, `${JSON.stringify({ id })}\n`);
      const about = { project: config.project as string, run: displayName(facts), run_id: id, config };
      add = (step, kind, metrics) => {
        queue.push({ ...about, step, metrics, log_id: `${id}-${step}-${kind}` });
        if (!stop.signal.aborted) sending ??= send().finally(() => sending = null);
      };
      rowsBefore.forEach(addRow); // those that it has are not taken again
    },
    step: addRow,
    evaluation: addRow,
    histogram({ tag, step, values }) {
      const histogram = trackedHistogram("trackio.histogram", values);
      if (histogram) add(step, tag, { [tag]: histogram });
    },
    async close() {
      const waiting = new AbortController();
      const given = sleep(lastMs, undefined, { signal: waiting.signal }).catch(() => {});
      await Promise.race([sending ?? Promise.resolve(), given]);
      waiting.abort();
      stop.abort();
      if (queue.length > 0) onMessage(`trackio has not got the last ${queue.length} entries of this run`);
    },
  };
}
