/** The bar of a run on a terminal. */
import { Writable } from "node:stream";
import { type GenericFormatter, SingleBar } from "cli-progress";
import { widthOf } from "./columns.ts";
import type { TerminalOutput } from "./output.ts";

const DEFAULT_COLUMNS = 80;
/** The bar takes what the line leaves, and none where that is less than it says something. */
const MOST_BAR = 24;
const LEAST_BAR = 8;

/** Columns of a line that is drawn over: a full one would scroll. */
export const roomOf = ({ columns = DEFAULT_COLUMNS }: Pick<TerminalOutput, "columns">) =>
  Math.max(1, columns - 1);

/** A bar of `maxSteps` steps, redrawn by a timer until it is stopped. */
export function startBar(output: TerminalOutput, doneSteps: number, maxSteps: number): SingleBar {
  const format: GenericFormatter = (_options, { progress }, { line }) =>
    withBar(line, progress, roomOf(output));
  const bar = new SingleBar({
    stream: barStream(output),
    format,
    fps: 4,
    linewrap: true,
    forceRedraw: true,
    // What it showed of the last step stands above it.
    clearOnComplete: true,
    // The command decides what a signal does, and a cursor that is never hidden need not be shown again.
    gracefulExit: false,
    hideCursor: false,
  });
  bar.start(maxSteps, doneSteps, { line: `${doneSteps}/${maxSteps}` });
  return bar;
}

function withBar(line: string, progress: number, room: number): string {
  const size = Math.min(MOST_BAR, room - widthOf(line) - 1);
  if (size < LEAST_BAR) return line;
  const full = Math.round(Math.min(1, Math.max(0, progress)) * size);
  return `${"█".repeat(full)}${"░".repeat(size - full)} ${line}`;
}

const SAVE_CURSOR = "\x1b7";
const RESTORE_CURSOR = "\x1b8";

/** `output` as the stream that cli-progress wants. */
function barStream(output: TerminalOutput): NodeJS.WritableStream {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      // Each control code comes as a write of its own. Printed lines scroll the screen, so a saved position
      // is stale.
      const text = String(chunk);
      if (text !== SAVE_CURSOR && text !== RESTORE_CURSOR) output.write(text);
      done();
    },
  });
  return Object.assign(stream, { isTTY: true, columns: output.columns ?? DEFAULT_COLUMNS });
}
