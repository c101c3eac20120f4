/** Puts every fault into a copy of the code, one at a time, and asks its nearest tests. */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
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

/** Of a fault whose file and tests are the same as when it was noticed. */
function keyOf(fault: Fault): string {
  const paths = [fault.file, ...fault.tests.map((selection) => selected(selection).path)];
  const texts = paths.map((path) => readFileSync(join(ROOT, path), "utf8"));
  return createHash("sha256").update(JSON.stringify([fault, texts])).digest("hex");
}

/** What was noticed before, and by which test: a line each, so that several runs may note at a time. */
function openNotes(file: string | undefined) {
  const lines = file && existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
  const notes = new Map(lines.map((line) => JSON.parse(line) as [key: string, by: string]));
  return {
    find: (fault: Fault): FaultResult | undefined => {
      const by = notes.get(keyOf(fault));
      return by === undefined ? undefined : { fault, noticed: true, by };
    },
    keep({ fault, noticed, by }: FaultResult): void {
      if (!file || !noticed) return;
      mkdirSync(dirname(file), { recursive: true });
      appendFileSync(file, `${JSON.stringify([keyOf(fault), by])}\n`);
    },
  };
}

export interface RunOptions {
  workers: number;
  /** Where what is noticed is written down, so that it need not be run again; nowhere unless given. */
  keptFile?: string;
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

/** "[3/260, 12 min left] noticed src/rl/lambda.ts: lambda falls (unit/lambda.test.ts: ...)" */
function progressLine(
  { fault, noticed, by }: FaultResult,
  done: number,
  all: number,
  beganMs: number,
): string {
  const minutesEach = (performance.now() - beganMs) / 60_000 / done;
  const left = `${Math.ceil(minutesEach * (all - done))} min left`;
  const what = `${fault.file}: ${fault.harm}${by && ` (${by})`}`;
  return `[${done}/${all}, ${left}] ${noticed ? "noticed" : "NOT NOTICED"} ${what}\n`;
}

/** Results in the order of the faults; equivalent ones are left out. @throws Error when some could not be tried */
export async function runFaults(
  all: readonly Fault[],
  { workers, keptFile, tell }: RunOptions,
): Promise<FaultResult[]> {
  const faults = all.filter(({ equivalent }) => equivalent === undefined);
  const notes = openNotes(keptFile);
  const cleanSeconds = cleanRuns();
  const results: FaultResult[] = [];
  const troubles = new Set<string>();
  const began = performance.now();
  let [next, done] = [0, 0];

  async function resultOf(fault: Fault, workspace: Workspace): Promise<FaultResult> {
    const before = notes.find(fault);
    if (before) return before;
    try {
      const result = await tryFault(fault, workspace, cleanSeconds);
      notes.keep(result);
      return result;
    } catch (error) {
      troubles.add((error as Error).message);
      return { fault, noticed: false, by: (error as Error).message };
    }
  }

  async function work(): Promise<void> {
    const workspace = openWorkspace();
    try {
      while (next < faults.length) {
        const at = next++;
        results[at] = await resultOf(faults[at], workspace);
        tell(progressLine(results[at], ++done, faults.length, began));
      }
    } finally {
      workspace.dispose();
    }
  }

  await Promise.all(Array.from({ length: workers }, work));
  if (troubles.size > 0) throw new Error(`Faults that could not be tried:\n${[...troubles].join("\n")}`);
  return results;
}
