/** Lets a client meet every fault of scorer_fault_list.ts, in the runtime that it is started in, and prints the endings. */
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { answers } from "../answers.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import { fakeClock } from "../unit/fake_clock.ts";
import { type ScorerFault, scorerFaults } from "./scorer_fault_list.ts";

/** What came of a fault. */
export interface Met {
  name: string;
  /** Where the first answer alone is faulty, and where all are. */
  once: Outcome;
  always: Outcome;
}

export interface Outcome {
  /** "scores", or the error's name. */
  ended: string;
  scores: unknown;
  /** Of a second call, made with the same client where the first gave scores. */
  second: unknown;
  /** Requests for scores that came in. */
  posts: number;
  message: string;
}

const TIMEOUT_MS = 400;
const GOOD = '{"rewards":[0.5,1.5],"costs":[-1,2]}';
const HEALTH = '{"status":"healthy","device":"raw"}';
const good = (body: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A scorer that is well until the first request for scores. @param faulty how many answers are */
async function faultyScorer(fault: ScorerFault, faulty: number) {
  let posts = 0;
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    connections++;
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    // The health's connection is the first.
    if (fault.before === "connected" && connections > 1 && posts < faulty) {
      posts++;
      return void socket.destroy();
    }
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (text.startsWith("GET")) {
        text = "";
        // Closed, so that what is to be lost on connecting meets a connection.
        return void (fault.before === "connected"
          ? socket.end(good(HEALTH).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
          : socket.write(good(HEALTH)));
      }
      if (fault.before === "request" && posts < faulty) {
        posts++;
        return void socket.resetAndDestroy();
      }
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      text = "";
      if (posts++ < faulty) fault.answer(socket);
      else socket.write(good(GOOD));
    });
  });
  const url = await listen(server);
  return {
    url,
    posts: () => posts,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function meet(fault: ScorerFault, faulty: number): Promise<Outcome> {
  const scorer = await faultyScorer(fault, faulty);
  const client = createScorerClient({
    url: scorer.url,
    timeoutMs: fault.isSlow ? TIMEOUT_MS : 10_000,
    retryMaxMs: fault.isSlow ? 2000 : 10_000,
    random: () => 0.9,
    clock: fakeClock(),
    token: null,
  });
  const asked = answers(["a", "b"], ["c", "d"]);
  const outcome: Outcome = { ended: "scores", scores: null, second: null, posts: 0, message: "" };
  try {
    await client.checkHealth();
    outcome.scores = await client.score(asked);
    outcome.second = await client.score(asked);
  } catch (error) {
    outcome.ended = (error as Error).name;
    outcome.message = (error as Error).message;
  } finally {
    outcome.posts = scorer.posts();
    scorer.close();
  }
  return outcome;
}

let elsewhere = 0;
const other = createHttpServer((_, response) => {
  elsewhere++;
  response.end(GOOD);
});
const met: Met[] = [];
for (const fault of scorerFaults(await listen(other))) {
  met.push({ name: fault.name, once: await meet(fault, 1), always: await meet(fault, Infinity) });
}
process.stdout.write(`${JSON.stringify({ met, elsewhere })}\n`, () => process.exit());
