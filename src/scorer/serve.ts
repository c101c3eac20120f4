/** The scorer service on a socket, in Node and in Deno alike (node:http). */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname as machineName } from "node:os";
import { createAdaptorServer } from "@hono/node-server";
import { createScorerApp, type ScorerAppOptions } from "./server.ts";

export interface ServeScorerOptions extends ScorerAppOptions {
  /** 0 takes a free one. Default 0. */
  port?: number;
  /** Address to listen on; "0.0.0.0" for all. Default 127.0.0.1: only this machine. */
  hostname?: string;
  /** How long `close` lets requests in progress finish. Default 30 s. */
  graceMs?: number;
}

export interface RunningScorer {
  /** What a client on another machine can use too, if the service listens on all addresses. */
  url: string;
  /** Takes no new connection, lets requests in progress finish, then frees the port. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts the service; resolves once it listens.
 *
 * @throws Error when the port is taken or the address is not this machine's
 */
export async function serveScorer(options: ServeScorerOptions): Promise<RunningScorer> {
  const { port = 0, hostname = "127.0.0.1", graceMs = 30_000 } = options;
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
    close: () => (closing ??= closeGracefully(server, graceMs)),
  };
}

/** @throws Error when the port is taken or the address is not this machine's */
export function listen(server: Server, port: number, hostname: string): Promise<void> {
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

/** Takes no new connection, and ends those that are open after `graceMs`. */
export function closeGracefully(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close((error) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    });
    server.closeIdleConnections();
  });
}

/** "0.0.0.0" and "::" are addresses to listen on, not to connect to. */
function urlHost(hostname: string): string {
  if (hostname === "0.0.0.0" || hostname === "::") return machineName();
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
