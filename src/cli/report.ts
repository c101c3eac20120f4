/** The `report` command: report.html of one run, or a comparison of several. */
import { Command } from "commander";
import { buildReport } from "../assembly/report.ts";

/** `report RUN_FOLDER...`: prints the page's path; returns the exit code. */
export async function reportCommand(args: string[]): Promise<number> {
  const command = new Command("report")
    .description("Write report.html of a run, or comparison.html of several.")
    .argument("<run_folder...>", "folders with a metrics.jsonl")
    .parse(args, { from: "user" });
  process.stdout.write(`${await buildReport(command.args)}\n`);
  return 0;
}
