/** docs/reliability.md as text. Pure. */
import { factsTable } from "../../bench/measurements_page.ts";
import type { PageFacts } from "../../bench/measurements.ts";

/** What a file of test/chaos_runs/ has shown. */
export interface FileRows {
  file: string;
  seconds: number;
  rows: readonly Row[];
}

export interface Row {
  claim: string;
  measured: string;
}

const INTRODUCTION = `# What a bad day does to a run

\`npm run chaos -- --full --write\` measures and writes this page: runs that are killed, signalled, misled and starved, in
Node and in Deno, and what became of them. Each row is a test of \`test/chaos_runs/\`, which fails where the claim does not
hold; \`npm run chaos\` tries the same less often.
`;

const FEW = "These are the counts of `npm run chaos` without `--full`.";

/** The row that a line of a test's output tells; null where it tells none. */
export function rowIn(line: string): Row | null {
  const [, claim, measured] = /^row \| ([^|]+) \| ([^|]+)$/.exec(line.trim()) ?? [];
  return claim === undefined ? null : { claim: claim.trim(), measured: measured.trim() };
}

function fileText({ file, seconds, rows }: FileRows): string {
  const lines = rows.map(({ claim, measured }) => `| ${claim} | ${measured} |`);
  const table = ["| claim | measured |", "| --- | --- |", ...lines].join("\n");
  return `\`${file}\` (${Math.round(seconds)} s)\n\n${table}`;
}

export function reliabilityPage(facts: PageFacts, files: readonly FileRows[], isFull: boolean): string {
  const told = files.filter(({ rows }) => rows.length > 0).map(fileText);
  return `${[INTRODUCTION.trim(), factsTable(facts), ...isFull ? [] : [FEW], ...told].join("\n\n")}\n`;
}
