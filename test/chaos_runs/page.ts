/** docs/reliability.md as text: a section for each file of tests, made when it was last measured. Pure. */
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
hold; \`npm run chaos\` tries the same less often. With \`--file\` it measures one section anew, and leaves the others.
`;

/** The row that a line of a test's output tells; null where it tells none. */
export function rowIn(line: string): Row | null {
  const [, claim, measured] = /^row \| ([^|]+) \| ([^|]+)$/.exec(line.trim()) ?? [];
  return claim === undefined ? null : { claim: claim.trim(), measured: measured.trim() };
}

const titleOf = (file: string): string =>
  file.replace(/^.*\//, "").replace(/\.test\.ts$/, "").replaceAll("_", " ");

function sectionText(
  { commit, date, runtime, machine }: PageFacts,
  shown: FileRows,
  isFull: boolean,
): string {
  const { file, seconds, rows } = shown;
  const counts = isFull ? "`--full`" : "the few of `npm run chaos`";
  const lines = rows.map(({ claim, measured }) => `| ${claim} | ${measured} |`);
  const table = ["| claim | measured |", "| --- | --- |", ...lines].join("\n");
  const how = `\`${file}\`: ${
    Math.round(seconds)
  } s, counts ${counts}, commit ${commit}, ${date}; ${runtime}; ${machine}.`;
  return `## ${titleOf(file)}\n\n${how}\n\n${table}`;
}

/** Sections of a page by their headings. */
function sectionsOf(page: string): Map<string, string> {
  const parts = page.split(/^(?=## )/m).slice(1).map((text) => text.trim());
  return new Map(parts.map((text) => [text.split("\n", 1)[0], text]));
}

/** @param before the page as it is; sections of files that are not among `files` stay */
export function reliabilityPage(
  facts: PageFacts,
  files: readonly FileRows[],
  isFull: boolean,
  before = "",
): string {
  const sections = sectionsOf(before);
  for (const shown of files.filter(({ rows }) => rows.length > 0)) {
    sections.set(`## ${titleOf(shown.file)}`, sectionText(facts, shown, isFull));
  }
  const inOrder = [...sections].sort(([one], [other]) => one < other ? -1 : 1).map(([, text]) => text);
  return `${[INTRODUCTION.trim(), ...inOrder].join("\n\n")}\n`;
}
