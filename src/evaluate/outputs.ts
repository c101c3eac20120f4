/** The files of an evaluation, with the names and keys of the reference's, so that its plotting scripts read them. */
import { join } from "node:path";
import { makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { npyOfNumbers, npyOfTexts } from "../io/records/npy.ts";
import { quadrantOf } from "../rl/quadrants.ts";
import { scatterPng } from "../tracking/scatter_png.ts";
import { type Point, pointLine } from "./points.ts";
import type { Summary } from "./summary.ts";

/**
 * Writes {tag}_Rs.npy, _Cs.npy (float64), _labels.npy, _points.jsonl, _scatter.png and, last, _summary.json.
 * @throws Error when the folder cannot be written to
 */
export async function writeOutputs(
  folder: string,
  tag: string,
  points: readonly Point[],
  summary: Summary,
): Promise<void> {
  await makeFolders(folder);
  const rewards = points.map(({ reward }) => reward);
  const costs = points.map(({ cost }) => cost);
  const title = `${tag} (${points.length} prompts, ${summary.preset})`;
  const files = new Map<string, string | Uint8Array>([
    ["Rs.npy", npyOfNumbers(rewards)],
    ["Cs.npy", npyOfNumbers(costs)],
    ["labels.npy", npyOfTexts(rewards.map((reward, i) => quadrantOf(reward, costs[i])))],
    ["points.jsonl", points.map(pointLine).join("")],
    ["scatter.png", scatterPng({ title, rewards, costs })],
    ["summary.json", `${JSON.stringify(summary, null, 2)}\n`],
  ]);
  for (const [name, content] of files) await writeFileAtomic(join(folder, `${tag}_${name}`), content);
}
