// A hub of one model on loopback: the file list, and files with ranges; large ones redirected to another host, as
// the real one does. Tests say what goes wrong.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

export interface HubRequest {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

export interface FakeHub {
  endpoint: string;
  /** What "main" stands for. */
  commit: string;
  /** Content by name; files ending in .safetensors or .bin are large ones. */
  files: Map<string, Uint8Array>;
  /** Changes an answer: true when it was given. */
  intervene: (request: HubRequest, response: ServerResponse) => boolean;
  /** What a file is said to hold, where that is not what it holds. */
  listedAs: Map<string, Uint8Array>;
  /** Bytes of each answer about large files after which the connection is cut. */
  cutAfterBytes: number;
  /** Large files stop without an end after `cutAfterBytes` instead. */
  hangs: boolean;
  ignoresRanges: boolean;
  requests: HubRequest[];
  close(): Promise<void>;
}

const isLarge = (name: string) => /\.(safetensors|bin)$/.test(name);
export const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
export const gitBlobId = (content: Uint8Array) =>
  createHash("sha1").update(`blob ${content.byteLength}\0`).update(content).digest("hex");

function listingOf(hub: FakeHub) {
  return {
    sha: hub.commit,
    siblings: [...hub.files.keys()].map((name) => {
      const content = hub.listedAs.get(name) ?? hub.files.get(name)!;
      const size = content.byteLength;
      const lfs = isLarge(name) ? { sha256: sha256(content), size, pointerSize: 130 } : undefined;
      return { rfilename: name, size, blobId: gitBlobId(content), lfs };
    }),
  };
}

function sendFile(hub: FakeHub, name: string, { range }: HubRequest, response: ServerResponse): void {
  const content = hub.files.get(name)!;
  const start = hub.ignoresRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  const length = content.byteLength - start;
  const headers: Record<string, string | number> = { "content-length": length };
  if (start > 0) headers["content-range"] = `bytes ${start}-${content.byteLength - 1}/${content.byteLength}`;
  response.writeHead(start > 0 ? 206 : 200, headers);
  if (!isLarge(name) || length <= hub.cutAfterBytes) return void response.end(content.subarray(start));
  response.write(content.subarray(start, start + hub.cutAfterBytes), () => {
    // What was written must arrive before the connection goes.
    if (!hub.hangs) setTimeout(() => response.destroy(), 50);
  });
}

async function listen(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<[Server, string]> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return [server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`];
}

/** Serves `files` as the model "org/name", and as the data set of that name. */
export async function startFakeHub(files: Record<string, Uint8Array | string>): Promise<FakeHub> {
  const bytes = (content: Uint8Array | string) =>
    typeof content === "string" ? new TextEncoder().encode(content) : content;
  const record = ({ url = "", headers }: IncomingMessage): HubRequest => {
    const request = { path: url, range: headers.range, authorization: headers.authorization };
    hub.requests.push(request);
    return request;
  };
  const [storage, storageUrl] = await listen((incoming, response) => {
    const request = record(incoming);
    sendFile(hub, request.path.split("/").at(-1)!, request, response);
  });
  const [server, endpoint] = await listen((incoming, response) => {
    const request = record(incoming);
    if (hub.intervene(request, response)) return;
    const [, inDataset] = request.path.split(`/datasets/org/name/resolve/${hub.commit}/`);
    const name = inDataset === undefined ? request.path.split("/").at(-1)! : decodeURIComponent(inDataset);
    if (/^\/api\/(models|datasets)\/org\/name\/revision\//.test(request.path)) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(listingOf(hub)));
    } else if (inDataset !== undefined && hub.files.has(name)) {
      sendFile(hub, name, request, response);
    } else if (!request.path.startsWith(`/org/name/resolve/${hub.commit}/`) || !hub.files.has(name)) {
      response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
    } else if (isLarge(name)) {
      response.writeHead(302, { location: `${storageUrl}/${name}` }).end();
    } else sendFile(hub, name, request, response);
  });
  const hub: FakeHub = {
    endpoint,
    commit: COMMIT,
    files: new Map(Object.entries(files).map(([name, content]) => [name, bytes(content)])),
    intervene: () => false,
    listedAs: new Map(),
    cutAfterBytes: Infinity,
    hangs: false,
    ignoresRanges: false,
    requests: [],
    close: async () => {
      for (const one of [server, storage]) {
        one.closeAllConnections();
        await new Promise((resolve) => one.close(resolve));
      }
    },
  };
  return hub;
}
