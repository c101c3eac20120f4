/** StrykerJS over the floor without a GPU: every operator, condition and number of config/ and rl/, changed in turn. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EQUIVALENT_MUTANTS, type EquivalentMutant } from "./equivalent_mutants.ts";
import { openWorkspace } from "./workspace.ts";

/** The part of Stryker's JSON report that is read (mutation-testing-report-schema 2). */
export interface StrykerReport {
  files: Record<string, { source: string; mutants: StrykerMutant[] }>;
}

interface StrykerMutant {
  replacement: string;
  status:
    | "Killed"
    | "Timeout"
    | "Survived"
    | "NoCoverage"
    | "RuntimeError"
    | "CompileError"
    | "Ignored"
    | "Pending";
  location: { start: Place; end: Place };
}

interface Place {
  line: number;
  column: number;
}

export interface Mutant {
  file: string;
  line: number;
  /** The line that it is in, trimmed. */
  code: string;
  original: string;
  replacement: string;
  noticed: boolean;
}

const REPORT = "stryker-report.json";
/** The tests of these two folders: what else covers a line does not claim anything of it. */
const TEST_FILES =
  "test/unit/{advantages,cadence,config_*,conversation,lambda,loss*,quadrants,rng*,schedules}.test.ts";

function settings(workers: number) {
  return {
    testRunner: "tap",
    plugins: ["@stryker-mutator/tap-runner"],
    tap: {
      testFiles: [TEST_FILES],
      nodeArgs: ["--import", "tsx", "--test-reporter=tap", "-r", "{{hookFile}}", "{{testFile}}"],
      forceBail: true,
    },
    mutate: ["src/rl/*.ts", "src/config/*.ts"],
    // Words of messages are not behaviour; which message comes is held by the tests.
    mutator: { excludedMutations: ["StringLiteral"] },
    coverageAnalysis: "perTest",
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: REPORT },
    // Stryker would rewrite it with an API that TypeScript 7 no longer has.
    tsconfigFile: "none.json",
    concurrency: workers,
    // On a machine with other work a test takes long without hanging.
    timeoutMS: 30_000,
  };
}

/** Runs Stryker on a copy of the checkout. @throws Error when it fails */
export async function runStryker(workers: number): Promise<StrykerReport> {
  const { dir, dispose } = openWorkspace();
  try {
    writeFileSync(join(dir, "stryker.json"), JSON.stringify(settings(workers)));
    const program = join("node_modules", "@stryker-mutator", "core", "bin", "stryker.js");
    const node = "Deno" in globalThis ? "node" : process.execPath;
    const child = spawn(node, [program, "run", "stryker.json"], {
      cwd: dir,
      stdio: ["ignore", "inherit", "inherit"],
    });
    const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
    if (code !== 0) throw new Error(`Stryker ended with exit code ${code}`);
    return JSON.parse(readFileSync(join(dir, REPORT), "utf8")) as StrykerReport;
  } finally {
    dispose();
  }
}

function textBetween(source: string, start: Place, end: Place): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  lines[lines.length - 1] = lines[lines.length - 1].slice(0, end.column - 1);
  lines[0] = lines[0].slice(start.column - 1);
  return lines.join("\n");
}

/** The report's mutants that were tried. */
export function mutantsOf(report: StrykerReport): Mutant[] {
  return Object.entries(report.files).flatMap(([file, { source, mutants }]) =>
    mutants.filter(({ status }) => status !== "Ignored" && status !== "CompileError").map((
      { status, replacement, location: { start, end } },
    ) => ({
      file,
      line: start.line,
      code: source.split("\n")[start.line - 1].trim(),
      original: textBetween(source, start, end),
      replacement,
      noticed: status === "Killed" || status === "Timeout" || status === "RuntimeError",
    }))
  );
}

const isSame = (mutant: Mutant, { file, line, original, replacement }: EquivalentMutant) =>
  mutant.file === file && mutant.code.includes(line) && mutant.original === original &&
  mutant.replacement === replacement;

/** Parts the mutants that no test can notice from the others. @throws Error when an entry of the list fits none */
export function partEquivalent(
  mutants: readonly Mutant[],
  list: readonly EquivalentMutant[] = EQUIVALENT_MUTANTS,
): { counted: Mutant[]; equivalent: EquivalentMutant[] } {
  const idle = list.filter((entry) => !mutants.some((mutant) => !mutant.noticed && isSame(mutant, entry)));
  if (idle.length > 0) {
    const lines = idle.map(({ file, original, replacement }) => `${file}: ${original} -> ${replacement}`);
    throw new Error(
      `Equivalent mutants that Stryker did not make or that a test noticed; remove them:\n${
        lines.join("\n")
      }`,
    );
  }
  const counted = mutants.filter((mutant) => mutant.noticed || !list.some((entry) => isSame(mutant, entry)));
  return { counted, equivalent: [...list] };
}
