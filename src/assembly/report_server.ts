/** The report served on this machine alone, anew whenever the run has written something. */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createAdaptorServer } from "@hono/node-server";
import { isLoopback } from "../scorer/loopback.ts";
import { listen } from "../scorer/serve.ts";
import { ROLLOUTS_FOLDER } from "../tracking/rollout_records.ts";
import { contentPolicy, pagePrograms } from "../tracking/page_programs.ts";
import { CHANGES_FILE, RUN_CONFIG_FILE, RUN_FACTS_FILE } from "../tracking/run_records.ts";
import { WEIGHT_CHANGE_FILE } from "../tracking/weight_change.ts";
import { reportPage } from "./report.ts";

const HOST = "127.0.0.1";
/** Seconds after which a browser asks again for a page that there is not yet. */
const RETRY_SECONDS = 2;
/** What a page is made of. */
const FILES = [
  "metrics.jsonl",
  "samples",
  ROLLOUTS_FOLDER,
  RUN_CONFIG_FILE,
  CHANGES_FILE,
  RUN_FACTS_FILE,
  WEIGHT_CHANGE_FILE,
];

export interface ReportServer {
  url: string;
  /** Ends what is being answered, and frees the port. */
  close(): Promise<void>;
}

interface Page {
  stamp: string;
  html: string;
  tag: string;
}

/**
 * Serves the page of a run, or the comparison of several, on the loopback address: one path, no file.
 * @param folders asked anew for each page, since a sweep's runs begin one after the other
 * @param port 0 takes a free one
 * @throws Error when the port is taken
 */
export async function serveReport(
  folders: () => readonly string[],
  { port = 0 }: { port?: number } = {},
): Promise<ReportServer> {
  const policy = `${contentPolicy(pagePrograms().scripts, true)}; frame-ancestors 'none'`;
  const headers = {
    "cache-control": "no-store",
    "content-security-policy": policy,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };
  const said = (status: number, text: string, more: Record<string, string> = {}) =>
    new Response(`${text}\n`, {
      status,
      headers: { ...headers, "content-type": "text/plain; charset=utf-8", ...more },
    });
  const newest = cachedPage(folders);

  async function answer(request: Request): Promise<Response> {
    // A name that leads here from elsewhere would let any website read the page (DNS rebinding).
    if (!isLoopback(request.url)) return said(403, "Only for this machine");
    if (new URL(request.url).pathname !== "/") return said(404, "The report is at /");
    if (request.method !== "GET" && request.method !== "HEAD") return said(405, "Only GET", { allow: "GET" });
    let page: Page;
    try {
      page = await newest();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return said(503, text, { refresh: String(RETRY_SECONDS) });
    }
    if (request.headers.get("if-none-match") === page.tag) {
      return new Response(null, { status: 304, headers: { ...headers, etag: page.tag } });
    }
    const type = "text/html; charset=utf-8";
    return new Response(page.html, { headers: { ...headers, "content-type": type, etag: page.tag } });
  }

  // overrideGlobalObjects would swap Request and Response of the whole process, the trainer's included.
  const server = createAdaptorServer({ fetch: answer, overrideGlobalObjects: false }) as Server;
  await listen(server, port, HOST);
  const { port: boundPort } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `http://${HOST}:${boundPort}/`,
    close: () => (closing ??= new Promise((resolve, reject) => {
      server.close((error) => error ? reject(error) : resolve());
      server.closeAllConnections();
    })),
  };
}

/** Makes the page anew where a file of it has changed; who asks meanwhile waits for the same one. */
function cachedPage(folders: () => readonly string[]): () => Promise<Page> {
  let last: Page | undefined;
  let making: Promise<Page> | undefined;
  const make = async () => {
    const now = folders();
    const stamp = (await Promise.all(now.map(stampOf))).join("\n");
    if (last?.stamp === stamp) return last;
    const html = await reportPage(now, { isLive: true });
    const tag = `"${createHash("sha256").update(html).digest("base64url")}"`;
    return (last = { stamp, html, tag });
  };
  return () => (making ??= make().finally(() => (making = undefined)));
}

/** Changes with any file that the page is made of. */
async function stampOf(folder: string): Promise<string> {
  const stamps = await Promise.all(FILES.map(async (name) => {
    const found = await stat(join(folder, name)).catch(() => null);
    return found === null ? "" : `${found.mtimeMs} ${found.size} ${found.ino}`;
  }));
  return [folder, ...stamps].join("\t");
}
