/** docs/measurements.md as text. Pure. */
import type { PageFacts, SectionResult } from "./measurements.ts";

const INTRODUCTION = `# Measurements

\`npm run bench -- --measurements\` measures this page and writes it whole, at one commit on one machine. Each section's
command alone gives its figures; a section that the machine cannot run says so. What a table compares was taken in turn,
in one process or one after the other: figures of different tables are not to be compared.
`;

const SHORT_FORM =
  "This is the short form, at sizes that only show whether all of it runs: its figures say nothing.";
const SOFTWARE = "The device is software that runs on the CPU: nothing here says how fast a GPU is.";

/** Where and when a page was measured. */
function factsTable({ commit, date, device, driver, runtime, machine }: PageFacts): string {
  const rows = { commit, date, device, driver, runtime, machine };
  return ["| | |", "| --- | --- |", ...Object.entries(rows).map(([name, value]) => `| ${name} | ${value} |`)]
    .join("\n");
}

/** Breaks prose into lines of at most 120 characters. */
const wrapped = (prose: string) => prose.replace(/(.{1,120})(?: +|$)/g, "$1\n").trimEnd();

function sectionText(
  { section: { title, about, isMarkdown }, command, figures, reason }: SectionResult,
): string {
  const parts = [`## ${title}`];
  if (about) parts.push(wrapped(about));
  parts.push(figures ? `\`${command}\` (${Math.round(figures.seconds)} s)` : `\`${command}\``);
  if (!figures) parts.push(`Not measured: ${reason}.`);
  else parts.push(isMarkdown ? figures.text : `\`\`\`\n${figures.text}\n\`\`\``);
  return parts.join("\n\n");
}

export function measurementsPage(facts: PageFacts, results: readonly SectionResult[]): string {
  const notes = [...(facts.isTiny ? [SHORT_FORM] : []), ...(facts.isSoftware ? [SOFTWARE] : [])];
  const parts = [factsTable(facts), ...notes, ...results.map(sectionText)];
  return `${INTRODUCTION}\n${parts.join("\n\n")}\n`;
}
