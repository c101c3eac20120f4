/** What is shown while completions are sampled: a step of a large model takes minutes. */
import type { GenerationProgress } from "../../policy/decode/generate.ts";
import { fittingColumns } from "./columns.ts";

/** Seconds between two lines where there is no bar to draw over. */
const LINE_SECONDS = 30;

/**
 * `generating  token 256/512  41 of 60 completions left  1843 tokens/s`: the tokens of all completions, over the time
 * so far. Once none is left it says what comes then.
 * @param room columns; what does not fit is left out, whole
 */
export function generationLine(progress: GenerationProgress, room = Infinity): string {
  const { tokens, longest, maxTokens, rows, rowsLeft, seconds } = progress;
  const rate = `${(tokens / seconds).toFixed(0)} tokens/s`;
  if (rowsLeft === 0) {
    return fittingColumns([
      { rank: 1, text: `generated ${tokens} tokens` },
      { rank: 2, text: rate },
      { rank: 0, text: "scoring and training" },
    ], room);
  }
  return fittingColumns([
    { rank: 0, text: "generating" },
    { rank: 1, text: `token ${String(longest).padStart(String(maxTokens).length)}/${maxTokens}` },
    { rank: 2, text: `${String(rowsLeft).padStart(String(rows).length)} of ${rows} completions left` },
    { rank: 3, text: rate },
  ], room);
}

/** Says of each look at a generation whether a log is due a line: one every half a minute, none of short ones. */
export function everyHalfMinute(): (progress: Pick<GenerationProgress, "seconds">) => boolean {
  let shown = 0;
  let before = 0;
  return ({ seconds }) => {
    if (seconds < before) shown = 0; // another generation has begun
    before = seconds;
    if (seconds - shown < LINE_SECONDS) return false;
    shown = seconds;
    return true;
  };
}
