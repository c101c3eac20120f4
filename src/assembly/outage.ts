/** Lines about scorers that do not answer: one when it begins, one a minute, one when it is over. */
import { commandLine } from "../config/command_line.ts";
import type { PoolEvents } from "../scorer/pool.ts";

const MINUTE_MS = 60_000;

/** @param nowMs a clock, for tests */
export function outageLines(
  print: (text: string) => void,
  nowMs: () => number = () => performance.now(),
): Required<PoolEvents> {
  let isTold = false;
  let toldAtMs = -Infinity;
  return {
    onRetry({ url, error, isKnown, spentMs, maxMs }) {
      // Faults that come and go say so once a minute too.
      if (nowMs() - toldAtMs < MINUTE_MS) return;
      const spent = Math.round(spentMs / 1000);
      print(
        `Scorer ${url} does not answer (${error.message.split("\n")[0]}); asking again for ` +
          (isTold ? `${spent} s so far, ` : "") + `up to ${Math.round(maxMs / 1000)} s (scorer_retry_max_s)` +
          (isKnown || isTold
            ? ""
            : `; \`${commandLine(process.env, "scorer")}\` starts one, Ctrl-C ends the wait`),
      );
      isTold = true;
      toldAtMs = nowMs();
    },
    onRecovered({ url, spentMs }) {
      if (isTold) print(`Scorer ${url} answers; ${(spentMs / 1000).toFixed(1)} s were waited`);
      isTold = false;
    },
    onAbsent: ({ url, error }) =>
      print(
        `Scorer ${url} does not answer (${error.message.split("\n")[0]}); the others are asked meanwhile`,
      ),
    onWait: (paths) => print(`Waiting for the scorer's address in ${paths} ...`),
  };
}
