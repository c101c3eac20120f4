/** The bar of a run on a terminal. */
import { Writable } from "node:stream";
import { Presets, SingleBar } from "cli-progress";
import type { TerminalOutput } from "./output.ts";

const DEFAULT_COLUMNS = 80;
/** Room that a progress line takes; a bar is drawn in what is left. */
const LINE_COLUMNS = 98;

/** A bar of `maxSteps` steps, redrawn by a timer until it is stopped. */
export function startBar(output: TerminalOutput, doneSteps: number, maxSteps: number): SingleBar {
  const columns = output.columns ?? DEFAULT_COLUMNS;
  const barsize = Math.max(0, Math.min(24, columns - LINE_COLUMNS));
  const bar = new SingleBar({
    stream: barStream(output),
    format: barsize > 0 ? "{bar} {line}" : "{line}",
    barsize,
    fps: 4,
    linewrap: true,
    forceRedraw: true,
    // The command decides what a signal does, and a cursor that is never hidden need not be shown again.
    gracefulExit: false,
    hideCursor: false,
  }, Presets.shades_classic);
  bar.start(maxSteps, doneSteps, { line: `${doneSteps}/${maxSteps}` });
  return bar;
}

const SAVE_CURSOR = "\x1b7";
const RESTORE_CURSOR = "\x1b8";

/** `output` as the stream that cli-progress wants. */
function barStream({ write, columns }: TerminalOutput): NodeJS.WritableStream {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      // Each control code comes as a write of its own. Printed lines scroll the screen, so a saved position
      // is stale.
      const text = String(chunk);
      if (text !== SAVE_CURSOR && text !== RESTORE_CURSOR) write(text);
      done();
    },
  });
  return Object.assign(stream, { isTTY: true, columns: columns ?? DEFAULT_COLUMNS });
}
