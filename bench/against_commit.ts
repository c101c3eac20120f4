/**
 * Runs the quickstart as an earlier commit has it and as it is now, in turn, and prints how long training took: the sum
 * of the step times, and the whole process. Needs git, and packages that serve both.
 *
 *   node --import tsx bench/against_commit.ts COMMIT [ROUNDS] [KEY=VALUE...]     (about five minutes a round on two cores)
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { quantile } from "./measure.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Run {
  stepSeconds: number;
  wallSeconds: number;
}

function git(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) throw new Error(`git ${args.join(" ")} failed: ${stderr}`);
  return stdout.trim();
}

/** Trains in `tree` from scratch into a folder of its own. */
function train(tree: string, folder: string, overrides: readonly string[]): Run {
  const output = mkdtempSync(join(folder, "run-"));
  const set = [`output_dir=${output}`, ...overrides].flatMap((setting) => ["--set", setting]);
  const config = join("configs", "quickstart.yaml");
  const args = ["--import", "tsx", join("src", "cli", "main.ts"), "train", "--config", config, ...set];
  const began = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: tree, encoding: "utf8" });
  if (status !== 0) throw new Error(`Training in ${tree} failed: ${stderr}`);
  const wallSeconds = (performance.now() - began) / 1000;
  const rows = readFileSync(metricsIn(output), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const stepSeconds = rows.reduce((sum, row) => sum + (row.step_time ?? 0), 0);
  return { stepSeconds, wallSeconds };
}

/** The metrics of the one run in a folder. */
function metricsIn(output: string): string {
  return join(output, readdirSync(output)[0], "metrics.jsonl");
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
      console.log(`${name}: steps ${run.stepSeconds.toFixed(1)} s, process ${run.wallSeconds.toFixed(1)} s`);
    }
  }
  const median = (name: keyof typeof runs, key: keyof Run) =>
    quantile(runs[name].map((run) => run[key]), 0.5);
  for (const key of ["stepSeconds", "wallSeconds"] as const) {
    const [then, now] = [median("then", key), median("now", key)];
    const what = key === "stepSeconds" ? "steps" : "process";
    console.log(
      `${what}: ${then.toFixed(1)} s at ${commit}, ${now.toFixed(1)} s now: ${(then / now).toFixed(2)}x`,
    );
  }
} finally {
  git("worktree", "remove", "--force", tree);
  rmSync(folder, { recursive: true });
}
