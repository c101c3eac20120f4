/** The `test:browser` command: the report's page in a headless Chromium, which is installed where it is missing. */
import { Command } from "commander";
import { countingLeftOut } from "../../scripts/check.mjs";
import { ensureDebianPackages } from "../../scripts/setup_cluster.mjs";
import { runFile } from "../file_run.ts";
import { filesUnder } from "../unit/source_files.ts";

/** A file that takes longer hangs. */
const FILE_MS = 3 * 60_000;

/** `test:browser`: returns the exit code, 1 when a test fails. */
export async function browserCommand(args: string[]): Promise<number> {
  new Command("test:browser")
    .description("Run the tests of the report's page in Chromium; installs Debian's package as root.")
    .parse(args, { from: "user" });
  await ensureDebianPackages("The tests of the report's page", ["chromium"]);
  return await countingLeftOut(async (notes) => {
    let failed = 0;
    for (const file of filesUnder("test/browser", ".test.ts")) {
      if (await runFile(file, { env: notes, limitMs: FILE_MS }) !== 0) failed++;
    }
    return failed === 0 ? 0 : 1;
  });
}
