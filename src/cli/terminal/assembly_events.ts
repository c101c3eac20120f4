/** What is shown while a run is put together: downloads, loads, and the kernels that are measured. */
import type { AssemblyEvents, KernelsMeasured } from "../../assembly/events.ts";
import { bytesProgress } from "./bytes_progress.ts";
import type { TerminalOutput } from "./output.ts";

/** Loads below this are over before they are read about. */
const SHOWN_BYTES = 1e8;

/** Shows everything on `output`. */
export function assemblyEvents(output: TerminalOutput): Required<AssemblyEvents> {
  const overwrite = output.isTTY ? "\r\x1b[K" : "";
  return {
    onBytes(doing) {
      const least = doing === "downloading" ? 0 : SHOWN_BYTES;
      const { update, close } = bytesProgress(output, () => performance.now(), doing);
      return { update: (moved) => moved.totalBytes >= least && update(moved), close };
    },
    onMeasuring(done, total) {
      const line = `measuring this GPU's fastest kernels, once: ${done} of ${total}`;
      if (output.isTTY) output.write(`${overwrite}${line}`);
      else if (done === 0) output.write(`${line}\n`);
    },
    onMeasured: (measured) => output.write(`${overwrite}${measuredLine(measured)}\n`),
    onMessage: (text) => output.write(`${text}\n`),
  };
}

function measuredLine({ seconds, path, failure }: KernelsMeasured): string {
  const kept = failure === undefined ? `kept in ${path}` : `not kept: ${failure}`;
  return `Measured the fastest kernels in ${seconds.toFixed(1)} s; ${kept}`;
}
