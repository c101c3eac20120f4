/** Scorers of a test on free ports of this machine, whose manners it changes as it goes. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface OwnServer {
  url: string;
  /** Paths that were asked for, in order. */
  asked: string[];
  /** Answers in the place of a good scorer; null: it is one. */
  manners: ((request: IncomingMessage, response: ServerResponse) => void) | null;
  /** As a good scorer does. */
  answerWell(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Takes connections no more, or again at the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** A reward and a cost that tell which completion they belong to. */
export const goodScores = (responses: readonly string[]) => ({
  rewards: responses.map((text) => text.length),
  costs: responses.map((text) => -text.length / 2),
});

export async function ownServer(t: Pick<TestContext, "after">): Promise<OwnServer> {
  const server = createServer(async (request, response) => {
    own.asked.push(request.url!);
    if (own.manners) return own.manners(request, response);
    await own.answerWell(request, response);
  });
  async function answerWell(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "GET") return void response.end('{"status": "healthy", "device": "own"}');
    let text = "";
    for await (const chunk of request) text += chunk;
    response.end(JSON.stringify(goodScores(JSON.parse(text).responses)));
  }
  let port = 0;
  const start = () => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await start();
  port = (server.address() as AddressInfo).port;
  const own: OwnServer = {
    url: `http://127.0.0.1:${port}`,
    asked: [],
    manners: null,
    answerWell,
    stop,
    start,
  };
  t.after(stop);
  return own;
}
