/** Completions with their prompts and scores, as they are printed. */
import type { Judgements } from "../../tracking/metrics.ts";
import { escapeControls } from "../../config/controls.ts";
import { truncateText } from "../../tracking/printable.ts";
import type { Texts } from "../../tracking/samples.ts";

interface SamplesShown {
  title(index: number): string;
  /** How many of the batch, from its first on. */
  count: number;
  /** Characters of each text. */
  limit: number;
}

/** A prompt that several samples share stands before the first of them. */
export function samplesText(
  { prompts, completions }: Texts,
  scores: Pick<Judgements, "rewards" | "costs"> | undefined,
  { title, count, limit }: SamplesShown,
): string {
  const indented = (text: string) => escapeControls(truncateText(text, limit)).replace(/^/gm, "  | ");
  return Array.from({ length: count }, (_, i) => [
    title(i),
    ...(i > 0 && prompts[i] === prompts[i - 1] ? [] : ["  prompt", indented(prompts[i])]),
    "  completion",
    indented(completions[i]),
    ...(scores ? [`  reward ${scores.rewards[i].toFixed(2)}  cost ${scores.costs[i].toFixed(2)}`] : []),
  ]).flat().join("\n");
}
