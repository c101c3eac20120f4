/** Runs that are killed at any moment, and a scorer whose scores are others each time: nothing is asked twice. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { inScratchFolder, metricRows, RUN, trainArgs } from "../e2e/program.ts";
import { countOf, tellRow } from "./counts.ts";
import { RUNTIMES, startIn } from "./runtimes.ts";

const KILLS = countOf(3, 25);
const STEPS = countOf(6, 60);

/** Answers each request with scores that no other has had, and keeps them by what was asked. */
async function startFickleScorer() {
  const answers = new Map<string, number[][]>();
  let salt = 0;
  let onAnswer = () => {};
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    if (request.url === "/health") {
      return void response.end(JSON.stringify({ status: "healthy", device: "the test" }));
    }
    let text = "";
    request.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => {
      const rewards = (JSON.parse(text) as { responses: string[] }).responses.map(() => (salt += 0.37) % 3);
      const key = createHash("sha256").update(text).digest("hex");
      answers.set(key, [...answers.get(key) ?? [], rewards]);
      response.end(JSON.stringify({ rewards, costs: rewards.map((reward) => 1 - reward) }), () => onAnswer());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answers,
    /** Resolves when so many more requests have been answered. */
    answered: (count: number) =>
      new Promise<void>((resolve) => onAnswer = () => void (--count === 0 && resolve())),
    close: () => void (server.closeAllConnections(), server.close()),
  };
}

for (const runtime of RUNTIMES) {
  it(`a run in ${runtime} that is killed ${KILLS} times asks for no scores twice, but those it was waiting for`, () =>
    inScratchFolder(async (folder) => {
      const scorer = await startFickleScorer();
      try {
        const args = trainArgs(folder, {
          max_steps: STEPS,
          save_steps: 3,
          scorer_url: scorer.url,
          scorer_batch_size: 4,
        });
        const start = () => startIn(runtime, args);
        let kills = 0;
        for (let i = 0; i < KILLS; i++) {
          const program = start();
          const isAnswered = scorer.answered(1 + i % 3).then(() => wait(7 * (i * 37 % 60)));
          await Promise.race([isAnswered, program.finished]);
          try {
            program.signal("SIGKILL");
          } catch {
            // It has come to its end.
          }
          const { code } = await program.finished;
          if (code === 0) break;
          kills++;
        }
        assert.ok(kills > KILLS / 2, `the run ended after ${kills} kills`);
        const last = await start().finished;
        assert.equal(last.code, 0, last.output);
        const times = [...scorer.answers.values()].map(({ length }) => length);
        const again = times.reduce((sum, count) => sum + count - 1, 0);
        // A kill may come between an answer and its line in the journal: one request at most is in flight.
        assert.ok(again <= kills, `${again} requests were repeated after ${kills} kills`);
        const rows = metricRows(join(folder, RUN));
        assert.deepEqual(rows.map(({ step }) => step), Array.from({ length: STEPS }, (_, i) => i + 1));
        assert.deepEqual(readdirSync(join(folder, RUN)).filter((name) => name.includes("journal")), []);
        tellRow(
          `A run in ${runtime} killed at random, with a scorer whose scores are others each time: what was answered is ` +
            "not asked again",
          `${kills} kills, ${times.length} requests; ${again} of those in flight asked again, no row lost or doubled`,
        );
      } finally {
        scorer.close();
      }
    }));
}
