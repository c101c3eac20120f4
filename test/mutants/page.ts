/** docs/tests.md as text. Pure. */
import { CLAIMS } from "./claims.ts";
import type { Fault } from "./fault.ts";
import { selected } from "./fault_list.ts";
import type { FaultResult } from "./fault_runs.ts";
import { addCounts, type Count, countOf, folderScores, shareOf } from "./score.ts";
import type { EquivalentMutant } from "./equivalent_mutants.ts";
import type { Mutant } from "./stryker.ts";

export interface MutantRun {
  faults: readonly FaultResult[];
  equivalentFaults: readonly Fault[];
  mutants: readonly Mutant[];
  equivalentMutants: readonly EquivalentMutant[];
}

const INTRODUCTION = `# Would the tests notice?

\`npm run mutants\` measures and writes this page. It puts faults into a copy of the code, one at a time, and runs the tests
nearest to each: small slips in kernels, ops, training, files and commands, written by hand (\`test/mutants/faults/\`), and
every operator, condition and number of the pure floor (\`src/config\`, \`src/rl\`), changed in turn by StrykerJS. A fault is
noticed when a test fails or hangs that passes without it. Required: 95 % of all and of those by hand, 90 % in every folder.
`;

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const code = (text: string) => `\`${text.replaceAll("`", "'").replaceAll(/\s+/g, " ")}\``;
const row = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(heading), row(heading.map(() => "---")), ...rows.map(row)].join("\n");
}

const ofText = ({ noticed, counted }: Count) => counted === 0 ? "" : `${noticed} of ${counted}`;
const percentText = (count: Count) => `${(100 * shareOf(count)).toFixed(1)} %`;

function scoreTable({ faults, mutants }: MutantRun): string {
  const scores = folderScores(faults, mutants);
  const rows = scores.map(({ folder, byHand, byStryker }) => [
    `${folder}/`,
    ofText(byHand),
    ofText(byStryker),
    percentText(addCounts(byHand, byStryker)),
  ]);
  const [byHand, byStryker] = [countOf(faults), countOf(mutants)];
  const all = ["all", ofText(byHand), ofText(byStryker), percentText(addCounts(byHand, byStryker))];
  return table(["folder", "faults by hand", "StrykerJS", "noticed"], [...rows, all]);
}

function claimTable({ faults }: MutantRun): string {
  const rows = CLAIMS.map((claim, i) => {
    const own = faults.filter(({ fault }) => fault.claim === i + 1);
    const files = new Set(
      own.filter(({ noticed }) => noticed).map(({ by }) => selected(by.split(": ")[0]).path),
    );
    return [
      String(i + 1),
      claim,
      [...files].map(code).join(", "),
      ofText(countOf(own)),
    ];
  });
  return table(["", "claim", "noticed by", "faults that break it"], rows);
}

function missedList({ faults, mutants }: MutantRun): string {
  const missedFaults = faults.filter(({ noticed }) => !noticed).map(({ fault }) =>
    `- ${fault.file}: ${fault.harm}`
  );
  const missedMutants = mutants.filter(({ noticed }) => !noticed).map((
    { file, line, original, replacement },
  ) => `- ${file}:${line}: ${code(original)} becomes ${code(replacement)}`);
  return [...missedFaults, ...missedMutants].join("\n") || "None.";
}

function equivalentList({ equivalentFaults, equivalentMutants }: MutantRun): string {
  const ofFaults = equivalentFaults.map(({ file, find, replace, equivalent }) =>
    `- ${file}: ${code(find)} becomes ${code(replace)}: ${equivalent}`
  );
  const ofMutants = equivalentMutants.map(({ file, original, replacement, reason }) =>
    `- ${file}: ${code(original)} becomes ${code(replacement)}: ${reason}`
  );
  return [...ofFaults, ...ofMutants].join("\n") || "None.";
}

export function mutantsPage(run: MutantRun): string {
  return [
    INTRODUCTION,
    `## By folder\n\n${scoreTable(run)}\n`,
    `## Ten claims, each broken on purpose\n\n${claimTable(run)}\n`,
    `## Not noticed\n\n${missedList(run)}\n`,
    `## Equivalent\n\nNothing that a user or a caller could see changes, so they are not counted.\n\n${
      equivalentList(run)
    }\n`,
  ].join("\n");
}
