/** The `report` command: report.html of one run, or a comparison of several. */
import { Command } from "commander";
import { buildReport } from "../assembly/report.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { writeData, writeError } from "./terminal/output.ts";

/** `report RUN_FOLDER...`: prints the page's path; returns the exit code. */
export async function reportCommand(args: string[]): Promise<number> {
  const command = new Command("report")
    .description("Write report.html of a run, or comparison.html of several.")
    .argument("<run_folder...>", "folders with a metrics.jsonl");
  const folders = parseArguments(command, args).args.map(pathOf);
  // Beside the page's path, which a script may read.
  const { isTTY } = process.stderr;
  if (isTTY) {
    writeError(`reading ${folders.length === 1 ? folders[0] : `${folders.length} runs`} ...`);
  }
  try {
    const page = await buildReport(folders);
    if (isTTY) writeError("\r\x1b[K");
    writeData(`${page}\n`);
  } catch (error) {
    if (isTTY) writeError("\n");
    throw error;
  }
  return 0;
}
