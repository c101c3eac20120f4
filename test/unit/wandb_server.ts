/** A W&B server as its client knows it: GraphQL for runs and files, a stream of lines by their offsets. */
import { createServer } from "node:http";
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
  /** While set, answers so without looking. */
  failure: number | null;
  requests(): number;
  close(): Promise<void>;
}

export async function startStubWandb(): Promise<StubWandb> {
  const runs = new Map<string, StubRun>();
  const keys = new Set<string>();
  let repeats = 0;
  let requests = 0;

  function answer(path: string, body: string): unknown {
    if (path === "/graphql") return { data: query(JSON.parse(body)) };
    const [, id] = /^\/files\/[^/]+\/[^/]+\/([^/]+)\/file_stream$/.exec(path) ?? [];
    if (id) return stream(runs.get(id)!, JSON.parse(body));
    const [, run, file] = /^\/put\/([^/]+)\/(.*)$/.exec(path) ?? [];
    runs.get(run)!.files.set(decodeURIComponent(file), body);
    return {};
  }

  // deno-lint-ignore no-explicit-any
  function query({ query, variables }: { query: string; variables: any }): unknown {
    if (query.includes("upsertBucket")) {
      const { name, displayName, groupName: group, tags, project, entity } = variables;
      const before = runs.get(name) ??
        { history: [], events: [], summary: "", files: new Map(), exitCode: null };
      runs.set(name, { ...before, displayName, group, tags, config: JSON.parse(variables.config) });
      const place = { name: project, entity: { name: entity ?? "owner" } };
      const bucket = { id: "B", name, displayName, historyLineCount: before.history.length, project: place };
      return { upsertBucket: { bucket, inserted: true } };
    }
    const { run, files } = variables;
    const urls = files.map((name: string) => ({
      name,
      uploadUrl: `/put/${run}/${encodeURIComponent(name)}`,
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
    requests++;
    let body = "";
    for await (const chunk of request) body += chunk;
    if (request.headers.authorization) keys.add(request.headers.authorization);
    if (stub.failure !== null) {
      response.writeHead(stub.failure).end("not now");
      return;
    }
    response.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify(answer(request.url!, body)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stub: StubWandb = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    runs,
    keys,
    failure: null,
    repeats: () => repeats,
    requests: () => requests,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(() => resolve()))),
  };
  return stub;
}
