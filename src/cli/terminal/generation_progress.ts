/** What is shown while completions are sampled: a step of a large model takes minutes. */
import type { GenerationProgress } from "../../policy/decode/generate.ts";

/** Seconds between two lines where there is no bar to draw over. */
const LINE_SECONDS = 30;

/**
 * `generating  token 256/512  41 of 60 completions left  1843 tokens/s`: the tokens of all completions, over the time
 * so far. Once none is left it says what comes then.
 */
export function generationLine(progress: GenerationProgress): string {
  const { tokens, longest, maxTokens, rows, rowsLeft, seconds } = progress;
  const rate = `${(tokens / seconds).toFixed(0)} tokens/s`;
  if (rowsLeft === 0) return `generated ${tokens} tokens  ${rate}  scoring and training`;
  return [
    "generating",
    `token ${String(longest).padStart(String(maxTokens).length)}/${maxTokens}`,
    `${String(rowsLeft).padStart(String(rows).length)} of ${rows} completions left`,
    rate,
  ].join("  ");
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
