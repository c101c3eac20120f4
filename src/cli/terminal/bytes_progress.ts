/** Progress of long moves of bytes: downloads, and weights on their way to the GPU or beside those of another model. */
import type { BytesMoved, BytesWatcher } from "../../assembly/events.ts";
import { type Column, fittingColumns, widthOf } from "./columns.ts";
import type { TerminalOutput } from "./output.ts";
import { roomOf } from "./progress_bar.ts";

/** Milliseconds between two redraws on a terminal, and between two lines elsewhere. */
const REDRAW_MS = 250;
const LINE_MS = 10_000;
const BAR_WIDTH = 24;

/**
 * Shows how many bytes have been moved: a bar on a terminal, else a line every 10 s and at the end. Nothing when all
 * was there.
 * @param doing "downloading", "loading", "comparing"
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
      const gbPerSecond = (doneBytes - first.doneBytes) / 1e6 / (atMs - first.atMs);
      isBarShown = output.isTTY && !isEnd;
      if (!output.isTTY) output.write(`${bytesLine(doing, progress, gbPerSecond)}\n`);
      else {output.write(
          `\r\x1b[K${bytesLine(doing, progress, gbPerSecond, roomOf(output))}${isEnd ? "\n" : ""}`,
        );}
    },
    // An error that ends the download starts on a line of its own.
    close: () => isBarShown && output.write("\n"),
  };
}

function barOf(share: number): string {
  const full = Math.floor(share * BAR_WIDTH);
  return `${"█".repeat(full)}${"░".repeat(BAR_WIDTH - full)}`;
}

/** @param room columns of a terminal, where there is a bar; what does not fit is left out, whole */
function bytesLine(
  doing: string,
  { id, doneBytes, totalBytes }: BytesMoved,
  gbPerSecond: number,
  room?: number,
): string {
  const columns: Column[] = [
    { rank: 2, text: `${doing} ${id}` },
    { rank: 0, text: `${(doneBytes / 1e9).toFixed(2)} of ${(totalBytes / 1e9).toFixed(2)} GB` },
    { rank: 1, text: Number.isFinite(gbPerSecond) ? `${gbPerSecond.toFixed(3)} GB/s` : undefined },
  ];
  if (room === undefined) return fittingColumns(columns, Infinity);
  const line = fittingColumns(columns, room);
  const bar = barOf(doneBytes / totalBytes);
  return widthOf(line) + BAR_WIDTH + 1 <= room ? `${bar} ${line}` : line;
}
