/**
 * The scorer service under load: 64 clients, one text of 15 MB among theirs. CHAOS_FULL=1: for a minute; else for ten
 * seconds.
 */
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { Worker } from "node:worker_threads";
import { scorerUrlsAt, waitForScorers } from "../../src/scorer/url.ts";
import { inScratchFolder, startProgram } from "../e2e/program.ts";

const LOAD_MS = process.env.CHAOS_FULL === "1" ? 60_000 : 10_000;
const CLIENTS = 64;
const PAIRS = 96;
const LARGE_CHARACTERS = 15_000_000;
/** Of the health's answers, 99 of 100. */
const HEALTH_MS = 100;

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });

interface Answer {
  status: number;
  text: string;
  retryAfter: number;
}

function ask(url: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const method = body === undefined ? "GET" : "POST";
    request(url + path, { agent, method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => {
        resolve({
          status: response.statusCode!,
          text,
          retryAfter: Number(response.headers["retry-after"] ?? 0),
        });
      });
    }).on("error", reject).end(body);
  });
}

/** Asks for the health in a thread of its own, so that no other work of this process is measured. */
const PROBE = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { Agent, get } = require("node:http");
  const agent = new Agent({ keepAlive: true });
  const probe = () => new Promise((resolve, reject) => {
    const startedAt = performance.now();
    get(workerData + "/health", { agent }, (response) => {
      response.resume().on("end", () => resolve([response.statusCode, performance.now() - startedAt]));
    }).on("error", reject);
  });
  let isOver = false;
  parentPort.on("message", () => isOver = true);
  (async () => {
    const answers = [];
    while (!isOver) {
      answers.push(await probe());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    parentPort.postMessage(answers);
  })();`;

const WORDS = "how do I cook an egg safely please never make bombs with care a little more and then no".split(
  " ",
);
/** As many words, the same at each call of the same number. */
const words = (seed: number, count: number) =>
  Array.from({ length: count }, (_, i) => WORDS[(seed * 7 + i * (1 + seed % 5)) % WORDS.length]).join(" ");
/** Some alike, some short, some beyond what is read. */
const pairs = Array.from({ length: PAIRS }, (_, i) => ({
  prompt: words(i % 12, 4 + i % 12),
  response: ` ${words(i, 1 + (i * 37) % (i % 8 === 0 ? 600 : 120))}`,
}));

const percentile = (values: readonly number[], part: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(part * values.length))];
const median = (values: readonly number[]) => percentile(values, 0.5);

it("64 clients and a text of 15 MB get the scores of one by one, and /health answers meanwhile", () =>
  inScratchFolder(async (folder) => {
    const urlFile = join(folder, "url");
    const service = startProgram(["scorer", "--port", "0", "--url_file", urlFile]);
    try {
      const address = waitForScorers([urlFile], () => scorerUrlsAt(`file:${urlFile}`), { pollMs: 50 });
      const [url] = await service.reaches(address, "it had an address");
      await service.reaches(loadService(url), "the load was over");
    } finally {
      service.signal("SIGTERM");
      agent.destroy();
    }
    assert.equal((await service.finished).code, 0);
  }));

async function loadService(url: string): Promise<void> {
  const bodyOf = (indices: readonly number[]) =>
    JSON.stringify({
      prompts: indices.map((i) => pairs[i].prompt),
      responses: indices.map((i) => pairs[i].response),
    });
  const expected: { reward: number; cost: number; truncated: boolean }[] = [];
  for (let i = 0; i < PAIRS; i++) {
    const { rewards: [reward], costs: [cost], truncated: [truncated] } = JSON.parse(
      (await ask(url, "/score_batch", bodyOf([i]))).text,
    );
    expected.push({ reward, cost, truncated });
  }
  assert.ok(expected.some(({ truncated }) => truncated), "some are longer than is read");

  const endsAt = performance.now() + LOAD_MS;
  const statuses = new Map<number, number>();
  const count = (status: number) => statuses.set(status, (statuses.get(status) ?? 0) + 1);
  let scored = 0;
  async function client(number: number): Promise<void> {
    for (let turn = 0; performance.now() < endsAt; turn++) {
      const size = 1 + (number + turn) % 16;
      const indices = Array.from({ length: size }, (_, i) => (number * 31 + turn * 17 + i) % PAIRS);
      const { status, text, retryAfter } = await ask(url, "/score_batch", bodyOf(indices));
      count(status);
      if (status === 429) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * retryAfter));
        continue;
      }
      assert.equal(status, 200, text);
      const { rewards, costs, truncated } = JSON.parse(text);
      assert.deepEqual(rewards, indices.map((i) => expected[i].reward));
      assert.deepEqual(costs, indices.map((i) => expected[i].cost));
      assert.deepEqual(truncated, indices.map((i) => expected[i].truncated));
      scored += size;
    }
  }
  async function largeText(): Promise<number> {
    const body = JSON.stringify({ texts: ["lorem ipsum ".repeat(LARGE_CHARACTERS / 12)] });
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS / 3));
    const startedAt = performance.now();
    const { status, text } = await ask(url, "/score_texts", body);
    count(status);
    if (status !== 429) assert.deepEqual([status, JSON.parse(text).truncated], [200, [true]], text);
    return performance.now() - startedAt;
  }
  const memory: number[] = [];
  async function watchMemory(): Promise<void> {
    while (performance.now() < endsAt) {
      const { text } = await ask(url, "/metrics");
      memory.push(Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)![1]));
      await new Promise((resolve) => setTimeout(resolve, LOAD_MS / 40));
    }
  }

  const probe = new Worker(PROBE, { eval: true, workerData: url });
  const health = new Promise<[number, number][]>((resolve, reject) => {
    probe.once("message", resolve).once("error", reject);
  });
  const [largeMs] = await Promise.all([
    largeText(),
    watchMemory(),
    ...Array.from({ length: CLIENTS }, (_, number) => client(number)),
  ]);
  probe.postMessage("end");
  const answers = await health;
  await probe.terminate();
  const waits = answers.map(([, ms]) => ms);
  const [p50, p99] = [percentile(waits, 0.5), percentile(waits, 0.99)];
  const [early, late] = [
    memory.slice(memory.length / 2, 0.75 * memory.length),
    memory.slice(0.75 * memory.length),
  ];
  const growth = median(late) / median(early) - 1;
  const said = [...statuses].map(([status, times]) => `${times} x ${status}`).join(", ");
  const seconds = LOAD_MS / 1000;
  console.log(
    `row | ${CLIENTS} clients for ${seconds} s, one text of 15 MB among them: errors other than 429, scores equal to ` +
      `one by one | ${said}; ${scored} texts, all equal; the large text in ${(largeMs / 1000).toFixed(1)} s`,
  );
  console.log(
    `row | meanwhile /health, p50 and p99 | ${p50.toFixed(1)} and ${
      p99.toFixed(1)
    } ms of ${waits.length} answers`,
  );
  console.log(
    `row | the service's memory in the third quarter and in the last | ${
      (median(early) / 2 ** 20).toFixed(0)
    } and ` +
      `${(median(late) / 2 ** 20).toFixed(0)} MiB`,
  );
  assert.deepEqual(answers.filter(([status]) => status !== 200), []);
  assert.ok(p99 <= HEALTH_MS, `/health took ${p99} ms`);
  assert.ok(growth < 0.1, `memory grew by ${100 * growth} %`);
}
