/**
 * The `chaos` command: runs that are killed, signalled, misled and starved, one test file at a time, in Node; what a
 * test starts runs in Node and in Deno. Its table is docs/reliability.md.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { countingLeftOut } from "../../scripts/check.mjs";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { runFile } from "../file_run.ts";
import { filesUnder, ROOT } from "../unit/source_files.ts";
import { type FileRows, reliabilityPage, type Row, rowIn } from "./page.ts";

const PAGE = "docs/reliability.md";
/** A file that takes longer hangs. */
const FILE_MS = 5 * 60_000;
const FULL_FILE_MS = 3 * 60 * 60_000;

interface ChaosOptions {
  file?: RegExp;
  full?: boolean;
  write?: boolean;
}

/** Runs a file and tells how it ended. @returns its rows; null where a test fails */
async function tryFile(file: string, env: Record<string, string>, limitMs: number): Promise<FileRows | null> {
  const rows: Row[] = [];
  const began = performance.now();
  const code = await runFile(file, {
    env,
    limitMs,
    onLine(line) {
      const row = rowIn(line);
      if (row) rows.push(row);
    },
  });
  const seconds = (performance.now() - began) / 1000;
  console.log(`${code === 0 ? "ok  " : "FAIL"} ${file}: ${seconds.toFixed(0)} s`);
  return code === 0 ? { file, seconds, rows } : null;
}

async function writePage(files: readonly FileRows[], isFull: boolean): Promise<void> {
  const { pageFacts, runShell } = await import("../../bench/measurements.ts");
  const facts = await pageFacts(runShell, false, PAGE);
  const before = await readFile(join(ROOT, PAGE), "utf8").catch(() => "");
  await writeFileAtomic(join(ROOT, PAGE), reliabilityPage(facts, files, isFull, before));
  console.log(`Wrote ${PAGE}.`);
}

/** `chaos`: returns the exit code, 1 when a test fails; then nothing is written. */
export async function chaosCommand(args: string[]): Promise<number> {
  const { file: pattern, full = false, write = false } = new Command("chaos")
    .description("Kill, signal, mislead and starve runs, and see that nothing is lost; in Node and Deno.")
    .option("--file <pattern>", "test files whose path matches", (text) => new RegExp(text))
    .option("--full", "as often as docs/reliability.md states, which takes hours")
    .option("--write", "write docs/reliability.md; with --file those sections of it")
    .parse(args, { from: "user" }).opts<ChaosOptions>();
  const files = filesUnder("test/chaos_runs", ".test.ts").filter((path) => !pattern || pattern.test(path));
  if (files.length === 0) throw new RangeError(`No test file of test/chaos_runs/ matches ${pattern}`);
  return await countingLeftOut(async (notes) => {
    const env = { ...notes, CHAOS_FULL: full ? "1" : "0" };
    const shown: FileRows[] = [];
    for (const [i, file] of files.entries()) {
      console.log(`${i + 1} of ${files.length}: ${file}`);
      const rows = await tryFile(file, env, full ? FULL_FILE_MS : FILE_MS);
      if (rows) shown.push(rows);
    }
    if (shown.length < files.length) return 1;
    if (write) await writePage(shown, full);
    return 0;
  });
}
