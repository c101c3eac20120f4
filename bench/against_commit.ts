/**
 * Runs the quickstart as an earlier commit has it and as it is now, in turn, and prints how long training took: the sum
 * of the step times, and the whole process. Needs git, and packages that serve both. Of the earlier commit it asks for
 * src/cli/main.ts and configs/quickstart.yaml alone.
 *
 *   node --import tsx bench/against_commit.ts COMMIT [ROUNDS] [KEY=VALUE...]     (two minutes a round on two cores)
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quantile } from "./measure.ts";
import { ROOT, runFile, setArgs } from "./program.ts";

interface Run {
  /** Sum of the step times. */
  steps: number;
  /** The whole process. */
  process: number;
}

const git = (...args: string[]) =>
  execFileSync("git", args, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });

/** Trains in `tree` from scratch into a folder of its own. @returns seconds. @throws Error when training fails */
function train(tree: string, folder: string, overrides: readonly string[]): Run {
  const output = mkdtempSync(join(folder, "run-"));
  const args = [
    "train",
    "--config",
    "configs/quickstart.yaml",
    ...setArgs([`output_dir=${output}`, ...overrides]),
  ];
  const began = performance.now();
  const code = runFile("src/cli/main.ts", args, { cwd: tree, stdio: ["ignore", "ignore", "inherit"] });
  if (code !== 0) throw new Error(`Training in ${tree} failed with exit code ${code}`);
  const seconds = (performance.now() - began) / 1000;
  const metrics = readFileSync(join(output, readdirSync(output)[0], "metrics.jsonl"), "utf8");
  const rows: { step_time?: number }[] = metrics.trimEnd().split("\n").map((line) => JSON.parse(line));
  return { steps: rows.reduce((sum, row) => sum + (row.step_time ?? 0), 0), process: seconds };
}

const [commit, rounds = "1", ...overrides] = process.argv.slice(2);
if (!commit || !(Number(rounds) >= 1)) {
  console.error("usage: against_commit.ts COMMIT [ROUNDS] [KEY=VALUE...]");
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "grpo-against-"));
const tree = join(folder, "tree");
try {
  git("worktree", "add", "--detach", tree, commit);
  symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
  const runs: Record<"then" | "now", Run[]> = { then: [], now: [] };
  for (let round = 0; round < Number(rounds); round++) {
    for (const [name, where] of [["then", tree], ["now", ROOT]] as const) {
      const run = train(where, folder, overrides);
      runs[name].push(run);
      console.log(`${name}: steps ${run.steps.toFixed(1)} s, process ${run.process.toFixed(1)} s`);
    }
  }
  for (const what of ["steps", "process"] as const) {
    const median = (name: keyof typeof runs) => quantile(runs[name].map((run) => run[what]), 0.5);
    const [then, now] = [median("then"), median("now")];
    console.log(
      `${what}: ${then.toFixed(1)} s at ${commit}, ${now.toFixed(1)} s now: ${(then / now).toFixed(2)}x`,
    );
  }
} finally {
  git("worktree", "remove", "--force", tree);
  rmSync(folder, { recursive: true });
}
