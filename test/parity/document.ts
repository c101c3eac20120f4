/** docs/parity.md as text. Pure. */
import { type ParityArea, parityAreas } from "./areas.ts";
import { LOOSEST, type Measured, type ParityLine } from "./line.ts";

/** Worst errors in one runtime, in the order of `parityAreas` and their lines. */
export interface ParityRun {
  /** "Node 20.20.2" */
  runtime: string;
  /** The GPU, or the software in its place. */
  device: string;
  errors: Measured[];
}

/** Begins the cell of an error that was not measured. */
export const UNMEASURED = "not here:";

const INTRODUCTION = `# The same numbers as PyTorch

\`npm run parity\` measures and writes this page; \`test/parity/\` holds the comparisons, which the tests hold to the same
limits, and \`test/golden/\` the numbers of the reference programs with the generators that wrote them
(\`python test/golden/make/make_golden.py\`, pinned in \`test/golden/make/requirements.txt\`). The tests need no Python.

A line passes while its worst error over the whole fixture is at most the limit; 0 means exactly equal. No limit is more
than ${LOOSEST} times the larger error measured here, or the reason stands beside it. ${UNMEASURED} is a line that
the device below cannot measure, and what it lacks.
`;

/** Numbers as the table shows them: 0, or two digits and an exponent. */
export function shortNumber(value: number): string {
  return value === 0 ? "0" : value.toExponential(1).replace(/\.0(?=e)/, "").replace("e+0", "");
}

/** An error, or why there is none. */
export const errorText = (error: Measured): string =>
  typeof error === "number" ? shortNumber(error) : `${UNMEASURED} ${error.missing}`;

/** Text as a cell of a Markdown table. */
export const cell = (text: string) => text.replaceAll("|", "\\|");

function* rowsOf(area: ParityArea, errorsOf: (line: ParityLine) => string[]): Generator<string> {
  for (const line of area.lines) {
    const limit = shortNumber(line.limit) + (line.reason === undefined ? "" : `: ${line.reason}`);
    const cells = [line.what, line.reference, line.measure, ...errorsOf(line), limit];
    yield `| ${cells.map(cell).join(" | ")} |`;
  }
}

/** The page. @throws RangeError when a run does not have one error for each line */
export function parityDocument(runs: readonly ParityRun[]): string {
  const lines = parityAreas.flatMap((area) => area.lines);
  for (const { runtime, errors } of runs) {
    if (errors.length !== lines.length) {
      throw new RangeError(`${runtime} measured ${errors.length} lines, need all ${lines.length}`);
    }
  }
  const errorsOf = (line: ParityLine) => runs.map(({ errors }) => errorText(errors[lines.indexOf(line)]));
  const heading = ["compared", "with", "error measured as", ...runs.map(({ runtime }) => runtime), "limit"];
  const machines = runs.map(({ runtime, device }) => `${runtime} on ${device}`).join("; ");
  const sections = parityAreas.map((area) =>
    [
      `## ${area.title}`,
      "",
      `| ${heading.join(" | ")} |`,
      `|${heading.map(() => " --- ").join("|")}|`,
      ...rowsOf(area, errorsOf),
      "",
    ].join("\n")
  );
  return `${INTRODUCTION}\nMeasured: ${machines}.\n\n${sections.join("\n")}`;
}
