/** The files under a run's samples/ folder. */
import { join } from "node:path";
import type { Sink } from "./sink.ts";
import { writeWhole } from "./written_whole.ts";

/** Writes samples/{split}_{step}.jsonl and samples/{split}_scatter_{step}.json: the report reads them. */
export function samplesFolder(): Sink {
  let folder = "";
  return {
    name: "samples/",
    isRecord: true,
    start({ runDir }) {
      folder = join(runDir, "samples");
    },
    table({ split, step, samples }) {
      const lines = samples.map((sample) => `${JSON.stringify(sample)}\n`);
      return writeWhole(join(folder, `${split}_${step}.jsonl`), lines.join(""));
    },
    scatter: (split, points) =>
      writeWhole(join(folder, `${split}_scatter_${points.step}.json`), `${JSON.stringify(points)}\n`),
  };
}
