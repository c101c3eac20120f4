/** A scorer that answers without a network. */
import type { TestContext } from "node:test";

export type Answers = (path: string) => Response;

export const json = (value: unknown, status = 200) => new Response(JSON.stringify(value), { status });
const HEALTHY = { status: "healthy", device: "fake" };
/** Healthy, with scores of one completion. */
export const scoring: Answers = (path) =>
  path === "/health" ? json(HEALTHY) : json({ rewards: [0.5], costs: [-1] });

/** A scorer in place of the network: the paths that it was asked for, and how long each answer may take. */
export function replaceFetch(t: TestContext, answers: Answers) {
  const asked: string[] = [];
  const waitsMs: number[] = [];
  const { fetch } = globalThis;
  const { timeout } = AbortSignal;
  globalThis.fetch = (url) => {
    const { pathname } = new URL(String(url));
    asked.push(pathname);
    return Promise.resolve(answers(pathname));
  };
  // The signals are looked at by the real fetch alone.
  AbortSignal.timeout = (ms) => {
    waitsMs.push(ms);
    return new AbortController().signal;
  };
  t.after(() => {
    globalThis.fetch = fetch;
    AbortSignal.timeout = timeout;
  });
  return { asked, waitsMs };
}
