/**
 * The `test:cluster` command: tests that need MPI or SLURM, one file at a time, in Node; what a test starts runs in
 * Node and in Deno. Debian's packages are installed first where they are missing.
 */
import { Command } from "commander";
import { countingLeftOut } from "../../scripts/check.mjs";
import { ensureClusterPackages } from "../../scripts/setup_cluster.mjs";
import { runFile } from "../file_run.ts";
import { filesUnder } from "../unit/source_files.ts";

/** A file that takes longer hangs: the whole suite has to end within ten minutes. */
const FILE_MS = 8 * 60_000;

/** `test:cluster`: returns the exit code, 1 when a test fails. */
export async function clusterCommand(args: string[]): Promise<number> {
  const { file: pattern } = new Command("test:cluster")
    .description(
      "Run the tests that need MPI or SLURM, one file at a time; installs Debian's packages as root.",
    )
    .option("--file <pattern>", "test files whose path matches", (text) => new RegExp(text))
    .parse(args, { from: "user" }).opts<{ file?: RegExp }>();
  await ensureClusterPackages();
  const files = filesUnder("test/cluster", ".test.ts").filter((path) => !pattern || pattern.test(path));
  if (files.length === 0) throw new RangeError(`No test file of test/cluster/ matches ${pattern}`);
  return await countingLeftOut(async (notes) => {
    let failed = 0;
    for (const file of files) {
      const began = performance.now();
      const code = await runFile(file, { env: notes, limitMs: FILE_MS });
      if (code !== 0) failed++;
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      console.log(`${code === 0 ? "ok  " : "FAIL"} ${file}: ${seconds} s`);
    }
    return failed === 0 ? 0 : 1;
  });
}
