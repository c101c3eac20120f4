/** The `report` command: report.html of one run, or a comparison of several. */
import { Command } from "commander";
import { buildReport } from "../assembly/report.ts";
import { parseArguments, pathOf } from "./arguments.ts";

/** `report RUN_FOLDER...`: prints the page's path; returns the exit code. */
export async function reportCommand(args: string[]): Promise<number> {
  const command = new Command("report")
    .description("Write report.html of a run, or comparison.html of several.")
    .argument("<run_folder...>", "folders with a metrics.jsonl");
  const folders = parseArguments(command, args).args.map(pathOf);
  // Beside the page's path, which a script may read.
  const { stderr } = process;
  if (stderr.isTTY) {
    stderr.write(`reading ${folders.length === 1 ? folders[0] : `${folders.length} runs`} ...`);
  }
  try {
    const page = await buildReport(folders);
    if (stderr.isTTY) stderr.write("\r\x1b[K");
    process.stdout.write(`${page}\n`);
  } catch (error) {
    if (stderr.isTTY) stderr.write("\n");
    throw error;
  }
  return 0;
}
