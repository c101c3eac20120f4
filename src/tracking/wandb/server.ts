/**
 * W&B's server, as its own client talks to it: GraphQL for the run and its files, a stream of lines for rows. The key
 * goes in a header, to that server alone.
 */
import { extendedJson } from "./extended_json.ts";
import type { WandbSettings } from "./settings.ts";

/** An answer that asking again does not change. */
export class WandbRefusal extends Error {
  override readonly name = "WandbRefusal";
}

/** Lines of one of the run's streams, the first of which is its `offset`th. */
export interface StreamedLines {
  offset: number;
  content: readonly string[];
}

/** What is told at a time. */
export interface Streamed {
  files?: Readonly<Record<string, StreamedLines>>;
  /** Files that have been uploaded. */
  uploaded?: readonly string[];
  /** The run's process has ended, with this code. */
  complete?: boolean;
  exitcode?: number;
}

/** A run's settings, as the server is told them. */
export interface ToldRun {
  id: string;
  project: string;
  entity: string;
  group: string;
  displayName: string;
  host: string;
  tags: readonly string[];
  /** By key; each stands in `{"value": ...}`. */
  config: Readonly<Record<string, unknown>>;
}

export interface KnownRun {
  project: string;
  entity: string;
  /** Rows that the server has. */
  rowCount: number;
}

export interface WandbServer {
  /** Makes the run known, or changes it. */
  upsert(run: ToldRun): Promise<KnownRun>;
  upload(run: KnownRun, id: string, path: string, bytes: Uint8Array): Promise<void>;
  stream(run: KnownRun, id: string, told: Streamed): Promise<void>;
}

const TIMEOUT_MS = 60_000;
/** Answers that asking again may change; all others below 500 stay. */
const PASSING = new Set([408, 425, 429]);

const UPSERT = `mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String,
  $displayName: String, $config: JSONString, $host: String, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
    displayName: $displayName, config: $config, host: $host, tags: $tags}) {
    bucket { id name displayName historyLineCount project { name entity { name } } }
    inserted
  }
}`;
const CREATE_FILES =
  `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    runID uploadHeaders files { name uploadUrl }
  }
}`;

interface Bucket {
  upsertBucket: {
    bucket: { historyLineCount?: number; project: { name: string; entity: { name: string } } };
  };
}
interface CreatedFiles {
  createRunFiles: {
    uploadHeaders?: readonly string[];
    files: readonly { name: string; uploadUrl: string }[];
  };
}

/**
 * Methods reject with WandbRefusal where asking again is of no use, with another Error where the server is away.
 * @param apiKey of `settings`; stays in memory
 */
export function wandbServer({ baseUrl }: Pick<WandbSettings, "baseUrl">, apiKey: string): WandbServer {
  const authorization = `Basic ${Buffer.from(`api:${apiKey}`).toString("base64")}`;
  const server = new URL(baseUrl).host;

  async function send(url: string, init: RequestInit): Promise<string> {
    const response = await fetch(url, {
      ...init,
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.ok) return text;
    const said = `${response.status} ${text.slice(0, 200)}`;
    if (response.status < 500 && !PASSING.has(response.status)) {
      throw new WandbRefusal(`${server} answers ${said}`);
    }
    throw new Error(said);
  }

  const post = (path: string, body: unknown) =>
    send(baseUrl + path, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  async function ask<T>(query: string, variables: unknown): Promise<T> {
    const { data, errors } = JSON.parse(await post("/graphql", { query, variables }));
    if (errors) throw new WandbRefusal(`${server} answers ${JSON.stringify(errors).slice(0, 200)}`);
    return data;
  }

  return {
    async upsert({ id, group, config, ...run }) {
      const values = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, { value }]));
      const { upsertBucket: { bucket } } = await ask<Bucket>(UPSERT, {
        ...run,
        name: id,
        entity: run.entity || null,
        groupName: group,
        config: extendedJson(values),
      });
      const { project, historyLineCount } = bucket;
      return { project: project.name, entity: project.entity.name, rowCount: historyLineCount ?? 0 };
    },
    async upload({ project, entity }, id, path, bytes) {
      const { createRunFiles } = await ask<CreatedFiles>(CREATE_FILES, {
        entity,
        project,
        run: id,
        files: [path],
      });
      const headers = (createRunFiles.uploadHeaders ?? []).map((line) =>
        line.split(/:\s*/, 2) as [string, string]
      );
      const { uploadUrl } = createRunFiles.files[0];
      const url = new URL(uploadUrl, baseUrl);
      const own: [string, string][] = url.host === server ? [["authorization", authorization]] : [];
      await send(url.href, { method: "PUT", headers: [...headers, ...own], body: new Uint8Array(bytes) });
    },
    async stream({ project, entity }, id, told) {
      const place = [entity, project, id].map(encodeURIComponent).join("/");
      await post(`/files/${place}/file_stream`, told);
    },
  };
}
