/** Progress of long moves of bytes: downloads, and weights on their way to the GPU. */
import type { BytesMoved, BytesWatcher } from "../../assembly/events.ts";
import type { TerminalOutput } from "./output.ts";

/** Milliseconds between two redraws on a terminal, and between two lines elsewhere. */
const REDRAW_MS = 250;
const LINE_MS = 10_000;
const BAR_WIDTH = 24;

/**
 * Shows how many bytes have been moved: a bar on a terminal, else a line every 10 s and at the end. Nothing when all
 * was there.
 * @param doing "downloading", "loading"
 */
export function bytesProgress(output: TerminalOutput, nowMs: () => number, doing: string): BytesWatcher {
  let first: { doneBytes: number; atMs: number } | undefined;
  let shownMs = -Infinity;
  let isBarShown = false;
  return {
    update(progress) {
      const { doneBytes, totalBytes } = progress;
      const atMs = nowMs();
      first ??= { doneBytes, atMs };
      const isEnd = doneBytes === totalBytes;
      if (first.doneBytes === totalBytes) return;
      if (!isEnd && atMs - shownMs < (output.isTTY ? REDRAW_MS : LINE_MS)) return;
      shownMs = atMs;
      const line = bytesLine(doing, progress, (doneBytes - first.doneBytes) / 1e6 / (atMs - first.atMs));
      isBarShown = output.isTTY && !isEnd;
      if (!output.isTTY) output.write(`${line}\n`);
      else output.write(`\r\x1b[K${barOf(doneBytes / totalBytes)} ${line}${isEnd ? "\n" : ""}`);
    },
    // An error that ends the download starts on a line of its own.
    close: () => isBarShown && output.write("\n"),
  };
}

function barOf(share: number): string {
  const full = Math.floor(share * BAR_WIDTH);
  return `${"█".repeat(full)}${"░".repeat(BAR_WIDTH - full)}`;
}

function bytesLine(doing: string, { id, doneBytes, totalBytes }: BytesMoved, gbPerSecond: number): string {
  const rate = Number.isFinite(gbPerSecond) ? `  ${gbPerSecond.toFixed(3)} GB/s` : "";
  return `${doing} ${id}  ${(doneBytes / 1e9).toFixed(2)} of ${(totalBytes / 1e9).toFixed(2)} GB${rate}`;
}
