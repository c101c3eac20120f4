/** Puts every fault into a copy of the code, one at a time, and asks its nearest tests. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Fault, TestSelection } from "./fault.ts";
import { ROOT, selected } from "./fault_list.ts";
import { type Outcome, runTests } from "./test_run.ts";
import { openWorkspace, type Workspace } from "./workspace.ts";

export interface FaultResult {
  fault: Fault;
  noticed: boolean;
  /** The test that failed, or that there was none. */
  by: string;
}

/** A program that hangs takes longer than any that does not, also on a machine with other work. */
const DEADLINE_FACTOR = 6;
const DEADLINE_EXTRA_MS = 60_000;
const FIRST_DEADLINE_MS = 900_000;
/** What was noticed need not be run again while the fault's file and the tests that it names are the same. */
const KEPT_FILE = join(ROOT, "outputs/mutants/noticed.json");

function keyOf(fault: Fault): string {
  const paths = [fault.file, ...fault.tests.map((selection) => selected(selection).path)];
  const texts = paths.map((path) => readFileSync(join(ROOT, path), "utf8"));
  return createHash("sha256").update(JSON.stringify([fault, texts])).digest("hex");
}

export interface RunOptions {
  workers: number;
  /** Runs also what was noticed before. */
  fresh: boolean;
  tell(text: string): void;
}

/** How long a selection takes on the code as it is, where it must pass. */
function cleanRuns() {
  const known = new Map<TestSelection, Promise<number>>();
  const measure = async ({ dir }: Workspace, selection: TestSelection) => {
    const outcome = await runTests(dir, selection, FIRST_DEADLINE_MS);
    if (outcome.kind === "passed" && outcome.tests > 0) return outcome.seconds;
    const found = outcome.kind === "passed" ? "it selects no test" : describe(outcome);
    throw new Error(`Cannot ask ${selection}: it must pass on the code as it is, found: ${found}`);
  };
  return (workspace: Workspace, selection: TestSelection): Promise<number> => {
    let seconds = known.get(selection);
    if (!seconds) known.set(selection, seconds = measure(workspace, selection));
    return seconds;
  };
}

function describe(outcome: Outcome): string {
  if (outcome.kind === "failed") return outcome.test;
  if (outcome.kind === "does not compile") return `does not compile: ${outcome.message}`;
  return outcome.kind;
}

/** @throws Error when a fault does not compile, or a selection does not pass without it */
async function tryFault(
  fault: Fault,
  workspace: Workspace,
  cleanSeconds: ReturnType<typeof cleanRuns>,
): Promise<FaultResult> {
  for (const selection of fault.tests) {
    const seconds = await cleanSeconds(workspace, selection);
    const deadlineMs = DEADLINE_FACTOR * seconds * 1000 + DEADLINE_EXTRA_MS;
    const outcome = await workspace.withFault(fault, () => runTests(workspace.dir, selection, deadlineMs));
    if (outcome.kind === "does not compile") {
      throw new Error(`${fault.file}: ${fault.harm}: ${describe(outcome)}`);
    }
    if (outcome.kind !== "passed") return { fault, noticed: true, by: `${selection}: ${describe(outcome)}` };
  }
  return { fault, noticed: false, by: "" };
}

/** Results in the order of the faults; equivalent ones are left out. @throws Error naming all that could not be tried */
export async function runFaults(all: readonly Fault[], options: RunOptions): Promise<FaultResult[]> {
  const faults = all.filter(({ equivalent }) => equivalent === undefined);
  const kept: Record<string, string> = existsSync(KEPT_FILE) && !options.fresh
    ? JSON.parse(readFileSync(KEPT_FILE, "utf8"))
    : {};
  const results: FaultResult[] = [];
  const troubles: string[] = [];
  const cleanSeconds = cleanRuns();
  const began = performance.now();
  let [next, done] = [0, 0];
  const work = async () => {
    const workspace = openWorkspace();
    try {
      while (next < faults.length) {
        const at = next++;
        const key = keyOf(faults[at]);
        const by = kept[key];
        const result = by !== undefined
          ? { fault: faults[at], noticed: true, by }
          : await tryFault(faults[at], workspace, cleanSeconds).catch((error: Error) => {
            troubles.push(error.message);
            return { fault: faults[at], noticed: false, by: error.message };
          });
        results[at] = result;
        if (result.noticed && by === undefined) {
          kept[key] = result.by;
          writeFileSync(KEPT_FILE, JSON.stringify(kept));
        }
        done++;
        const minutes = (performance.now() - began) / 60_000;
        const left = Math.ceil(minutes / done * (faults.length - done));
        options.tell(
          `[${done}/${faults.length}, ${left} min left] ${result.noticed ? "noticed" : "NOT NOTICED"} ` +
            `${result.fault.file}: ${result.fault.harm}${
              result.by && by === undefined ? ` (${result.by})` : ""
            }\n`,
        );
      }
    } finally {
      workspace.dispose();
    }
  };
  mkdirSync(dirname(KEPT_FILE), { recursive: true });
  await Promise.all(Array.from({ length: options.workers }, work));
  if (troubles.length > 0) {
    throw new Error(`${troubles.length} faults could not be tried:\n${[...new Set(troubles)].join("\n")}`);
  }
  return results;
}
