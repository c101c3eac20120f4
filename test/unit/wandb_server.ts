/** A W&B server as its client knows it: GraphQL for runs and files, a stream of lines by their offsets. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface StubRun {
  displayName: string;
  group: string;
  tags: readonly string[];
  config: Record<string, { value: unknown }>;
  history: string[];
  events: string[];
  summary: string;
  files: Map<string, string>;
  exitCode: number | null;
}

export interface StubWandb {
  url: string;
  runs: ReadonlyMap<string, StubRun>;
  /** Authorizations that requests had. */
  keys: ReadonlySet<string>;
  /** Rows that came where a row stood already. */
  repeats(): number;
  /** While set, answers so without looking, or not at all. */
  failure: number | "hangs" | null;
  /** Ends the connections that wait for an answer, as a server that comes up again does. */
  dropHung(): void;
  /** Takes connections no more, or again at the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

export async function startStubWandb(): Promise<StubWandb> {
  const runs = new Map<string, StubRun>();
  const keys = new Set<string>();
  let repeats = 0;

  const hung = new Set<ServerResponse>();

  /** @returns undefined where the path is none of W&B's */
  function answer(path: string, body: string): unknown {
    if (path === "/graphql") return { data: query(JSON.parse(body)) };
    const [, id] = /^\/files\/[^/]+\/[^/]+\/([^/]+)\/file_stream$/.exec(path) ?? [];
    if (id) return stream(runs.get(id)!, JSON.parse(body));
    const [, run, file] = /^\/put\/([^/]*)\/(.*)$/.exec(path) ?? [];
    if (run === undefined) return undefined;
    runs.get(run)?.files.set(decodeURIComponent(file), body);
    return {};
  }

  // deno-lint-ignore no-explicit-any
  function query({ query, variables }: { query: string; variables: any }): unknown {
    if (query.includes("upsertBucket")) {
      const { name, displayName, groupName: group, tags, project, entity } = variables;
      const before = runs.get(name) ??
        { history: [], events: [], summary: "", files: new Map(), exitCode: null };
      // What is left out, or null, stays as it was.
      const given = { displayName, group, tags, config: variables.config && JSON.parse(variables.config) };
      const told = Object.fromEntries(Object.entries(given).filter(([, value]) => value != null));
      runs.set(name, { ...before, ...told } as StubRun);
      const place = { name: project, entity: { name: entity ?? "owner" } };
      const bucket = { id: "B", name, displayName, historyLineCount: before.history.length, project: place };
      return { upsertBucket: { bucket, inserted: true } };
    }
    // wandb asks before it begins what the server can do.
    if (query.includes("serverInfo")) return { serverInfo: { features: [] } };
    if (!query.includes("createRunFiles")) return {};
    const { run, files } = variables;
    const urls = files.map((name: string) => ({
      name,
      uploadUrl: `${stub.url}/put/${run}/${encodeURIComponent(name)}`,
    }));
    return { createRunFiles: { runID: "B", uploadHeaders: [], files: urls } };
  }

  // deno-lint-ignore no-explicit-any
  function stream(run: StubRun, { files = {}, complete, exitcode }: any): unknown {
    const put = (lines: string[], told: { offset: number; content: string[] } | undefined) =>
      told?.content.forEach((line, i) => {
        if (lines[told.offset + i] !== undefined) repeats++;
        lines[told.offset + i] = line;
      });
    put(run.history, files["wandb-history.jsonl"]);
    put(run.events, files["wandb-events.jsonl"]);
    run.summary = files["wandb-summary.json"]?.content[0] ?? run.summary;
    if (complete) run.exitCode = exitcode;
    return {};
  }

  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    if (request.headers.authorization) keys.add(request.headers.authorization);
    if (stub.failure === "hangs") return void hung.add(response);
    if (stub.failure !== null) return void response.writeHead(stub.failure).end("not now");
    const said = answer(request.url!, body);
    response.writeHead(said === undefined ? 404 : 200, { "content-type": "application/json" })
      .end(JSON.stringify(said ?? {}));
  });
  let port = 0;
  const start = () => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await start();
  port = (server.address() as AddressInfo).port;
  const stub: StubWandb = {
    url: `http://127.0.0.1:${port}`,
    runs,
    keys,
    failure: null,
    repeats: () => repeats,
    dropHung() {
      for (const response of hung) response.destroy();
      hung.clear();
    },
    stop,
    start,
    close: stop,
  };
  return stub;
}
