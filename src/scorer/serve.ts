/** The scorer service on a socket, in Node and in Deno alike (node:http). */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname as machineName } from "node:os";
import { createAdaptorServer } from "@hono/node-server";
import { createScorerApp, type ScorerApp, type ScorerAppOptions } from "./server.ts";
import { assertGuarded } from "./service/access.ts";

export interface ServeScorerOptions extends ScorerAppOptions {
  /** 0 takes a free one. Default 0. */
  port?: number;
  /** Address to listen on; "0.0.0.0" for all. Default 127.0.0.1: only this machine. */
  hostname?: string;
  /** Other machines may ask without a token. Default false. */
  insecure?: boolean;
  /** How long `close` lets requests in progress finish. Default 8 s. */
  graceMs?: number;
}

export interface RunningScorer {
  /** What a client on another machine can use too, if the service listens on all addresses. */
  url: string;
  /**
   * Answers what was asked before, and what comes meanwhile with 503, for `graceMs` at most; then frees the port. May
   * be called twice.
   */
  close(): Promise<void>;
}

/** Between the last answer and the end of connections that are kept open all the same. */
const LAST_BYTES_MS = 500;

/**
 * Starts the service; resolves once it listens.
 *
 * @throws RangeError when other machines could ask, and there is neither a token nor `insecure`
 * @throws Error when the port is taken or the address is not this machine's
 */
export async function serveScorer(options: ServeScorerOptions): Promise<RunningScorer> {
  const { port = 0, hostname = "127.0.0.1", graceMs = 8000, token, insecure } = options;
  assertGuarded({ host: hostname, token, insecure });
  let closing: Promise<void> | undefined;
  const app = createScorerApp(options);
  async function answer(request: Request): Promise<Response> {
    const response = await app.fetch(request);
    // A connection kept alive would keep the server open after its last answer.
    if (closing) response.headers.set("connection", "close");
    return response;
  }
  // overrideGlobalObjects would swap Request and Response of the whole process, the trainer's included.
  const server = createAdaptorServer({ fetch: answer, overrideGlobalObjects: false }) as Server;
  await listen(server, port, hostname);
  const { port: boundPort } = server.address() as AddressInfo;
  return {
    url: `http://${urlHost(hostname)}:${boundPort}`,
    close: () => (closing ??= closeGracefully(server, app, graceMs)),
  };
}

function listen(server: Server, port: number, hostname: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error) => {
      const remedy = "choose another port (0 takes a free one) or an address of this machine";
      reject(new Error(`Cannot listen on ${hostname}:${port}: ${cause.message}; ${remedy}`, { cause }));
    };
    server.once("error", onError);
    server.listen(port, hostname, () => {
      server.off("error", onError);
      resolve();
    });
  });
}

async function closeGracefully(server: Server, app: ScorerApp, graceMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([app.drain(), new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs))]);
  clearTimeout(timer);
  await new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => server.closeAllConnections(), LAST_BYTES_MS);
    server.close((error) => error ? reject(error) : resolve());
    server.closeIdleConnections();
  });
  clearTimeout(timer);
}

/** "0.0.0.0" and "::" are addresses to listen on, not to connect to. */
function urlHost(hostname: string): string {
  if (hostname === "0.0.0.0" || hostname === "::") return machineName();
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
