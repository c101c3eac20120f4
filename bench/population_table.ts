/** The populations of --population as a table. Pure. */
import type { PopulationReport } from "./population_bench.ts";
import { alignColumns, milliseconds, spreadOf, threeDigits, times } from "./table.ts";

export function populationTable(title: string, report: PopulationReport): string {
  const { hidden, layers, members, prompts, promptTokens, tokens, decoding, completions, iterations } =
    report;
  const [plain] = decoding;
  const [fullRank] = iterations;
  const rows = decoding.map(({ name, timing }) => [
    name,
    milliseconds(timing.seconds),
    spreadOf(timing),
    times(timing.seconds / plain.timing.seconds),
    times(timing.fastestSeconds / plain.timing.fastestSeconds),
  ]);
  const quickstart = iterations.map(({ name, timing }) => [
    name,
    threeDigits(1 / timing.seconds),
    spreadOf(timing),
    times(fullRank.timing.seconds / timing.seconds),
    times(fullRank.timing.fastestSeconds / timing.fastestSeconds),
  ]);
  return [
    title,
    `${members} members answer ${prompts} prompts of ${promptTokens} tokens each with ${tokens} tokens, greedily: a ` +
    `Llama of ${layers} layers ${hidden} wide`,
    "",
    alignColumns([["", "ms", "+-", "x plain", "fastest"], ...rows]),
    "",
    `iterations of configs/quickstart_es_low_rank.yaml: ${completions} completions and the update, not judged`,
    "",
    alignColumns([["", "iterations/s", "+-", "x full rank", "fastest"], ...quickstart]),
    "",
    "fastest  the same ratio of the fastest samples; in turn, so that a slow minute is shared",
  ].join("\n");
}
