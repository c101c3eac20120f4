/**
 * A scorer that the test owns: it remembers what it was asked, and can hold an answer back. The training program waits
 * for it at a known point: asked for the scores of a step, it has done the steps before and all that goes with them.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { PairsRequest, Scores } from "../../src/scorer/protocol.ts";
import type { Program } from "./program.ts";

export interface HeldScorer {
  url: string;
  /** What was asked for since this was last called, a request for each generation batch. */
  taken(): PairsRequest[];
  /** Holds the answer to the request of this number, from 1, as `taken` counts; 0: to the question for its health. */
  holdAt(request: number): void;
  /** The program has come to the request that is held. */
  holds(program: Program): Promise<void>;
  /** Answers it, and all that come. */
  release(): void;
  /** Ends it, amid a request too: to the program, as a crash. */
  close(): Promise<void>;
}

/** Scores that depend on the completion alone. Costs are positive: lambda rises at every step. */
function scoresOf(responses: readonly string[]): Scores {
  const hashes = responses.map((text) =>
    [...text].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % 1009, 7) / 1009
  );
  return { rewards: hashes.map((hash) => 4 * hash), costs: hashes.map((hash) => 0.5 + (7 * hash) % 1) };
}

function answer(response: ServerResponse, body: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(body));
}

/** An answer that waits, and the promise that its question has come. */
function makeHold() {
  let come!: (send: () => void) => void;
  const question = new Promise<() => void>((resolve) => come = resolve);
  return { question, come };
}

export async function startHeldScorer(): Promise<HeldScorer> {
  let asked: PairsRequest[] = [];
  let heldRequest = -1;
  let hold = makeHold();
  const respond = (number: number, send: () => void) => number === heldRequest ? hold.come(send) : send();
  const server = createServer((request, response) => {
    if (request.url === "/health") {
      return respond(0, () => answer(response, { status: "healthy", device: "the test" }));
    }
    let text = "";
    request.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => {
      if (text === "") return; // of a program that was ended while it asked
      const body = JSON.parse(text) as PairsRequest;
      asked.push(body);
      respond(asked.length, () => answer(response, scoresOf(body.responses)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken() {
      const taken = asked;
      asked = [];
      return taken;
    },
    holdAt(request) {
      heldRequest = request;
      hold = makeHold();
    },
    holds: async (program) =>
      void await program.reaches(hold.question, `it asked for the scores of request ${heldRequest}`),
    release() {
      heldRequest = -1;
      hold.question.then((send) => send());
      hold = makeHold();
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
