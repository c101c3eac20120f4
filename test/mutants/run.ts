/** The `mutants` command: which faults the tests would notice, into docs/tests.md. */
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { allFaults, faultProblems, ROOT } from "./fault_list.ts";
import { runFaults } from "./fault_runs.ts";
import { mutantsPage } from "./page.ts";
import { countOf, folderScores, shortfalls } from "./score.ts";
import { mutantsOf, partEquivalent, runStryker } from "./stryker.ts";

const KEPT_FILE = join(ROOT, "outputs/mutants/noticed.jsonl");

interface MutantsOptions {
  only?: RegExp;
  claims?: boolean;
  stryker?: boolean;
  fresh: boolean;
  workers: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("must be an integer >= 1");
  return value;
}

/** Mutants of StrykerJS, those that no test can notice apart. */
async function tryMutants(workers: number, tell: (text: string) => void) {
  tell("StrykerJS over src/config and src/rl...\n");
  const parted = partEquivalent(mutantsOf(await runStryker(workers)));
  for (const { file, line, original, replacement } of parted.counted.filter(({ noticed }) => !noticed)) {
    tell(`NOT NOTICED ${file}:${line}: ${original} -> ${replacement}\n`);
  }
  const { noticed, counted } = countOf(parted.counted);
  tell(`${noticed} of ${counted} mutants noticed\n`);
  return parted;
}

/** `mutants`: returns the exit code, 1 when too few faults are noticed. */
export async function mutantsCommand(args: string[]): Promise<number> {
  const options = new Command("mutants")
    .description("Put faults into a copy of the code and see which the tests notice; write docs/tests.md.")
    .option(
      "--only <pattern>",
      "faults by hand whose file or harm matches; writes no page",
      (text) => new RegExp(text),
    )
    .option("--claims", "faults by hand that break one of the ten claims; writes no page")
    .option("--stryker", "StrykerJS's mutants alone; writes no page")
    .option("--fresh", "run also what was noticed before with the same code and tests", false)
    .option("--workers <n>", "faults tried at a time", positive, availableParallelism())
    .parse(args, { from: "user" }).opts<MutantsOptions>();
  const tell = (text: string) => void process.stdout.write(text);
  const { only, claims, workers } = options;
  if (options.stryker) {
    const { counted } = await tryMutants(workers, tell);
    return counted.every(({ noticed }) => noticed) ? 0 : 1;
  }
  const all = await allFaults();
  const chosen = all.filter((fault) =>
    (!claims || fault.claim !== undefined) && (!only || only.test(`${fault.file} ${fault.harm}`))
  );
  const problems = faultProblems(chosen);
  if (problems.length > 0) {
    throw new Error(`The list of faults does not fit the code:\n${problems.join("\n")}`);
  }
  if (options.fresh) await rm(KEPT_FILE, { force: true });
  const faults = await runFaults(chosen, { workers, keptFile: KEPT_FILE, tell });
  if (only || claims) {
    const { noticed, counted } = countOf(faults);
    tell(`${noticed} of ${counted} faults noticed\n`);
    return noticed === counted ? 0 : 1;
  }

  const { counted: mutants, equivalent } = await tryMutants(workers, tell);
  const run = {
    faults,
    mutants,
    equivalentFaults: all.filter((fault) => fault.equivalent !== undefined),
    equivalentMutants: equivalent,
  };
  await writeFileAtomic(join(ROOT, "docs/tests.md"), mutantsPage(run));
  const complaints = shortfalls(folderScores(faults, mutants));
  tell(`${complaints.map((line) => `${line}\n`).join("")}Wrote docs/tests.md.\n`);
  return complaints.length === 0 ? 0 : 1;
}
