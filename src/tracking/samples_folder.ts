/** The files under a run's samples/ folder. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Sink } from "./sink.ts";

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
      return writeWhole(folder, `${split}_${step}.jsonl`, lines.join(""));
    },
    scatter: (split, points) =>
      writeWhole(folder, `${split}_scatter_${points.step}.json`, `${JSON.stringify(points)}\n`),
  };
}

/** Through a second name, so that a reader never meets half a file. */
async function writeWhole(folder: string, name: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.partial`), text);
  await rename(join(folder, `${name}.partial`), join(folder, name));
}
