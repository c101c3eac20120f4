/** The `report` command: report.html of one run, or a comparison of several; or the same page served, as they grow. */
import { join } from "node:path";
import { Command } from "commander";
import { buildReport, reportPage } from "../assembly/report.ts";
import { isThere } from "../io/files/presence.ts";
import { WEIGHT_CHANGE_FILE } from "../tracking/weight_change.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { portNumber } from "./port.ts";
import { STOP_SIGNALS } from "./signals.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { writeData, writeError } from "./terminal/output.ts";

interface ReportOptions {
  serve?: true;
  port: number;
  weightChange?: true;
}

/** `report RUN_FOLDER...`: prints the page's path, or its URL where it serves; returns the exit code. */
export async function reportCommand(args: string[]): Promise<number> {
  const command = new Command("report")
    .description("Write report.html of a run, or comparison.html of several; or serve it as they grow.")
    .argument("<run_folder...>", "folders with a metrics.jsonl")
    .option(
      "--serve",
      "serve the page on this machine alone, with what the runs write meanwhile, until Ctrl-C",
    )
    .option(
      "--weight-change",
      "first measure how far training moved the weights, of runs that have not: reads both models once",
    )
    .option("--port <number>", "port to serve on; 0 takes a free one", portNumber, 8008);
  const parsed = parseArguments(command, args);
  const folders = parsed.args.map(pathOf);
  const { serve, port, weightChange } = parsed.opts<ReportOptions>();
  if (weightChange) await measureRuns(folders);
  if (serve) return await serveUntilSignal(folders, port);
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

/** Beside the page's path, which a script may read, it says how far it is. */
async function measureRuns(folders: readonly string[]): Promise<void> {
  const { measureRun } = await import("../assembly/weight_change.ts");
  const { isTTY, columns } = process.stderr;
  const { onBytes } = assemblyEvents({ write: writeError, isTTY, columns });
  for (const folder of folders) {
    if (!await isThere(join(folder, WEIGHT_CHANGE_FILE))) await measureRun(folder, { onBytes });
  }
}

async function serveUntilSignal(folders: readonly string[], port: number): Promise<number> {
  await reportPage(folders); // a folder that is no run is told at once
  const { serveReport } = await import("../assembly/report_server.ts");
  const server = await serveReport(() => folders, { port });
  writeData(`${server.url}\n`);
  try {
    await new Promise<void>((resolve) => {
      for (const signal of STOP_SIGNALS) process.once(signal, () => resolve());
    });
  } finally {
    await server.close();
  }
  return 0;
}
