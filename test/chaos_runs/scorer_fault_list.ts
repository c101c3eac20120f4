/** Faults of a scorer, as the bytes that it sends or does not send in answer to a request for scores. */
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";

/** What a client must make of one. */
export type Ending =
  /** The scores are there, if in an odd form. */
  | "scores"
  /** It is tried again, and the next answer's scores are taken; where all answers are so, no scorer is there. */
  | "passes"
  /** No scores, at once. */
  | "refused"
  /** One of the two, as the runtime sees it. */
  | "fails";

export interface ScorerFault {
  name: string;
  ending: Ending;
  /** Answers a request that has been read. */
  answer(socket: Socket): void;
  /** The scorer is lost as soon as a request begins, or connects, in the place of `answer`. */
  before?: "connected" | "request";
  /** Time has to run out before it is noticed. */
  isSlow?: boolean;
}

/** Of the two answers that are asked for. */
export const TRUTH = { rewards: [0.5, 1.5], costs: [-1, 2] };
const GOOD = JSON.stringify(TRUTH);

const http = (status: number, body: string | Uint8Array, headers: Record<string, string | number> = {}) => {
  const all = { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers };
  const lines = Object.entries(all).filter(([, value]) => value !== "").map(([name, value]) =>
    `${name}: ${value}`
  );
  const head = `HTTP/1.1 ${status} Status\r\n${lines.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
};
const sends = (bytes: string | Uint8Array) => (socket: Socket) => void socket.write(bytes);
const sendsAndCloses = (bytes: string | Uint8Array) => (socket: Socket) => void socket.end(bytes);
const sendsAndResets = (bytes: string | Uint8Array) => (socket: Socket) => {
  if (bytes.length === 0) return void socket.resetAndDestroy();
  socket.write(bytes, () => setTimeout(() => socket.resetAndDestroy(), 5));
};
const body = (name: string, text: string | Uint8Array, headers = {}): ScorerFault => ({
  name,
  ending: "refused",
  answer: sends(http(200, text, headers)),
});
const rewardsOf = (text: string) => `{"rewards": [0.5, ${text}], "costs": [-1, 2]}`;
const costsOf = (text: string) => `{"rewards": [0.5, 1.5], "costs": ${text}}`;
const passing = (
  name: string,
  answer: ScorerFault["answer"],
  more: Partial<ScorerFault> = {},
): ScorerFault => ({
  name,
  ending: "passes",
  answer,
  ...more,
});
const odd = (name: string, bytes: string | Uint8Array): ScorerFault => ({
  name,
  ending: "scores",
  answer: sends(bytes),
});

const WITHOUT_BODY = new Set([204, 205, 304]);
const STATUSES_THAT_PASS = [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 511, 520, 599];
const STATUSES_REFUSED = [
  201,
  202,
  203,
  204,
  205,
  206,
  304,
  400,
  401,
  402,
  403,
  404,
  405,
  406,
  409,
  410,
  413,
  414,
];
// fetch itself asks again after 421, as its standard says.
const MORE_REFUSED = [415, 417, 418, 422, 423, 426, 431, 451, 499];
const half = GOOD.slice(0, 20);

/** @param elsewhere a server that must not be asked */
export const scorerFaults = (elsewhere: string): readonly ScorerFault[] => [
  ...STATUSES_THAT_PASS.map((status) => passing(`${status} with good scores`, sends(http(status, GOOD)))),
  ...[...STATUSES_REFUSED, ...MORE_REFUSED].map((status): ScorerFault => ({
    name: `${status} with good scores`,
    ending: "refused",
    answer: sends(WITHOUT_BODY.has(status) ? http(status, "", { "content-length": "" }) : http(status, GOOD)),
  })),
  ...[301, 302, 303, 307, 308].map((status): ScorerFault => ({
    name: `${status} to another host`,
    ending: "refused",
    answer: sends(http(status, GOOD, { location: `${elsewhere}/score_batch` })),
  })),

  passing("closed as soon as connected", () => {}, { before: "connected" }),
  passing("reset while the request is sent", () => {}, { before: "request" }),
  passing("closed without an answer", (socket) => void socket.end()),
  passing("reset without an answer", sendsAndResets("")),
  passing("reset in the status line", sendsAndResets("HTTP/1.1 20")),
  passing("reset in the headers", sendsAndResets("HTTP/1.1 200 OK\r\ncontent-le")),
  passing("reset behind the headers", sendsAndResets("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n")),
  passing("reset in the body", sendsAndResets(http(200, half, { "content-length": GOOD.length }))),
  passing("closed in the body", sendsAndCloses(http(200, half, { "content-length": GOOD.length }))),
  passing(
    "closed one byte before the end of whole scores",
    sendsAndCloses(http(200, GOOD, { "content-length": GOOD.length + 1 })),
  ),
  passing(
    "reset in a chunk",
    sendsAndResets(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n${half}`),
  ),
  passing(
    "closed before the last chunk",
    sendsAndCloses(
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${GOOD.length.toString(16)}\r\n${GOOD}\r\n`,
    ),
  ),
  passing(
    "a chunk of a size that is no number",
    sends("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
  ),
  passing("no HTTP at all", sendsAndCloses("SSH-2.0-OpenSSH_9.2\r\n")),
  passing("a status that is no number", sendsAndCloses("HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n")),
  passing("a negative length", sendsAndCloses(http(200, GOOD, { "content-length": -1 }))),
  passing("headers of a megabyte", sendsAndCloses(http(200, GOOD, { "x-long": "x".repeat(1 << 20) }))),
  passing(
    "plain text that is said to be gzip",
    sendsAndCloses(http(200, GOOD, { "content-encoding": "gzip" })),
  ),
  {
    name: "half of a gzip",
    ending: "fails",
    answer: sendsAndCloses(http(200, gzipSync(GOOD).subarray(0, 20), { "content-encoding": "gzip" })),
  },
  passing("no answer", () => {}, { isSlow: true }),
  passing("headers, and then nothing", sends("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n"), {
    isSlow: true,
  }),
  passing("a byte now and then", (socket) => {
    const bytes = http(200, GOOD);
    let at = 0;
    const timer = setInterval(() => {
      if (socket.destroyed || at === bytes.length) clearInterval(timer);
      else socket.write(bytes.subarray(at, ++at));
    }, 50);
  }, { isSlow: true }),
  passing("a longer length than is sent", sends(http(200, GOOD, { "content-length": 500 })), {
    isSlow: true,
  }),

  body("nothing", ""),
  body("white space", "  \n"),
  body("a page", "<html>It works!</html>", { "content-type": "text/html" }),
  body("half of the scores, and the length of half", half),
  body("a shorter length than is sent", GOOD, { "content-length": 20, connection: "close" }),
  body("something behind the scores", `${GOOD}x`),
  body("the scores twice", `${GOOD}${GOOD}`),
  body("null", "null"),
  body("a number", "7"),
  body("a text", '"scores"'),
  body("a list", "[[0.5, 1.5], [-1, 2]]"),
  body("an empty object", "{}"),
  body("an error with status 200", '{"error": "CUDA out of memory"}'),
  body("NaN in the style of Python", rewardsOf("NaN")),
  body("Infinity", rewardsOf("Infinity")),
  body("an overflow", rewardsOf("1e999")),
  body("an overflow downwards", costsOf("[-1, -1e999]")),
  body("a reward of 1e7", rewardsOf("1e7")),
  body("a cost of -3e38", costsOf("[-1, -3e38]")),
  body("null for a score", rewardsOf("null")),
  body("a text for a score", rewardsOf('"1.5"')),
  body("true for a score", rewardsOf("true")),
  body("a list for a score", rewardsOf("[1.5]")),
  body("an object for a score", rewardsOf('{"score": 1.5}')),
  body("no costs", '{"rewards": [0.5, 1.5]}'),
  body("no rewards", '{"costs": [-1, 2]}'),
  body("names in capitals", '{"Rewards": [0.5, 1.5], "Costs": [-1, 2]}'),
  body("one cost for two", costsOf("[-1]")),
  body("three costs for two", costsOf("[-1, 2, 3]")),
  body("no scores in the lists", '{"rewards": [], "costs": []}'),
  body("a number for a list", costsOf("2")),
  body("an object for a list", costsOf('{"0": -1, "1": 2, "length": 2}')),
  body("rewards twice", '{"rewards": [9, 9], "rewards": [0.5, 1.5], "costs": [-1, 2]}'),
  body("UTF-16", Buffer.from(GOOD, "utf16le")),
  body("five megabytes", rewardsOf(`1${" ".repeat(5 << 20)}`)),
  body("a gzip of a gigabyte's kind", gzipSync(rewardsOf(`1${" ".repeat(64 << 20)}`)), {
    "content-encoding": "gzip",
  }),
  { name: "bytes without end", ending: "refused", answer: withoutEnd },

  odd("scores behind a byte order mark", http(200, `\ufeff${GOOD}`)),
  odd("scores as text/html", http(200, GOOD, { "content-type": "text/html" })),
  odd("scores in a gzip", http(200, gzipSync(GOOD), { "content-encoding": "gzip" })),
  odd("103 before the scores", `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${http(200, GOOD)}`),
  odd("102 before the scores", `HTTP/1.1 102 Processing\r\n\r\n${http(200, GOOD)}`),
  odd("more keys than are asked for", http(200, `{"model": {"rewards": 1}, ${GOOD.slice(1)}`)),
  {
    name: "scores until the connection closes",
    ending: "scores",
    answer: sendsAndCloses(`HTTP/1.0 200 OK\r\n\r\n${GOOD}`),
  },
  {
    name: "a connection that is said to stay, and is closed behind the scores",
    ending: "scores",
    answer: sendsAndCloses(http(200, GOOD, { connection: "keep-alive" })),
  },
  {
    name: "scores, and an answer that nobody asked for behind them",
    ending: "scores",
    answer: sends(Buffer.concat([http(200, GOOD), http(200, '{"rewards": [9, 9], "costs": [9, 9]}')])),
  },
];

function withoutEnd(socket: Socket): void {
  socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  const chunk = `10000\r\n${" ".repeat(0x10000)}\r\n`;
  const write = () => {
    if (!socket.destroyed) socket.write(chunk, () => setImmediate(write));
  };
  write();
}
