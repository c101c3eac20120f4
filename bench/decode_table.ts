/** The decoders of --decode as a table. Pure. */
import type { DecodeReport } from "./decode_bench.ts";
import { alignColumns, milliseconds, notRun, spreadOf, threeDigits, times } from "./table.ts";

export function decodeTable(title: string, report: DecodeReport): string {
  const { rows, promptTokens, tokens, decoders, skipped, replay } = report;
  const [own] = decoders;
  const cells = decoders.map(({ name, timing }) => [
    name,
    milliseconds(timing.seconds),
    spreadOf(timing),
    threeDigits(rows / timing.seconds),
    times(timing.seconds / own.timing.seconds),
  ]);
  return [
    title,
    `greedy decoding of a Llama, ${rows} rows, ${promptTokens} tokens read and ${tokens} made; the same tokens by all`,
    "",
    alignColumns([["", "ms a token", "+-", "tokens/s", "x ours"], ...cells]),
    ...skipped.map(notRun),
    "",
    `JavaScript of a replayed token, ${replay.layers} layers, ${replay.dispatches} dispatches: ` +
    `${replay.medianMs.toFixed(2)} ms (median; fastest ${replay.fastestMs.toFixed(2)} ms)`,
    "",
    "ms a token  of all rows together: a generation less its prefill, by its tokens; in turn, " +
    "so that a slow minute is shared",
  ].join("\n");
}
