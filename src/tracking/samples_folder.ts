/** The files under a run's samples/ folder. */
import { join } from "node:path";
import type { Sink } from "./sink.ts";

/** Writes a file, with the folder that it lies in, whole or not at all. */
export type WriteText = (path: string, text: string | Uint8Array) => Promise<void>;

/** Writes samples/{split}_{step}.jsonl and samples/{split}_scatter_{step}.json: the report reads them. */
export function samplesFolder(writeText: WriteText): Sink {
  let folder = "";
  return {
    name: "samples/",
    isRecord: true,
    start({ runDir }) {
      folder = join(runDir, "samples");
    },
    table({ split, step, samples }) {
      const lines = samples.map((sample) => `${JSON.stringify(sample)}\n`);
      return writeText(join(folder, `${split}_${step}.jsonl`), lines.join(""));
    },
    scatter: (split, points) =>
      writeText(join(folder, `${split}_scatter_${points.step}.json`), `${JSON.stringify(points)}\n`),
  };
}
