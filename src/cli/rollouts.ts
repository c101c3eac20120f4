/** The `rollouts` command: completions that a run kept, those that are asked for. */
import { Command, InvalidArgumentError, Option } from "commander";
import { readRollouts } from "../assembly/rollouts.ts";
import { findRollouts, type RolloutQuery } from "../tracking/rollout_query.ts";
import { once, parseArguments, pathOf } from "./arguments.ts";
import { standardOutput, writeData } from "./terminal/output.ts";
import { rolloutsText } from "./terminal/rollouts_text.ts";

const COLUMNS = ["step", "reward", "cost", "advantage", "end", "length", "prompt", "completion"];
/** Where standard output is no terminal. */
const WIDTH = 80;
const PER_WRITE = 100;

interface Options extends Omit<RolloutQuery, "columns"> {
  columns?: string[];
  json?: boolean;
  report?: string;
}

/** @throws InvalidArgumentError when it is no whole number */
function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Required a whole number, 0 for all");
  return Number(text);
}

function rolloutsCommandLine(): Command {
  const limitOnce = once("--limit");
  const columnsOnce = once("--columns");
  const reportOnce = once("--report");
  return new Command("rollouts")
    .description(
      "Completions that a run kept (log_completions=all): their texts, tokens, log-probs, scores and advantages.",
    )
    .argument("<run_folder>", "folder with rollouts/STEP.jsonl.gz")
    .option(
      "--where <condition>",
      "of which these hold, as \"cost > 0 && step > 50\" or \"completion ~ '[Ss]orry' || end == 'length'\"",
      once("--where"),
    )
    .option("--sort <field>", "the smallest first; with - before it the largest", once("--sort"))
    .option("--limit <count>", "how many; 0 for all", (text: string) => count(limitOnce(text)), 20)
    .option(
      "--columns <names>",
      `fields with commas between them (default: ${COLUMNS.join(",")}; with --json all)`,
      (text: string) => columnsOnce(text).split(",").map((name) => name.trim()),
    )
    .option("--json", "whole, a JSON object a line")
    .addOption(
      new Option("--report <file>", "writes them to a page (HTML), token by token, and prints its path")
        .argParser((text: string) => pathOf(reportOnce(text))).conflicts(["json", "columns"]),
    )
    .allowExcessArguments(false);
}

/** `rollouts RUN_FOLDER`: prints a table, or lines of JSON, or writes a page; returns the exit code. */
export async function rolloutsCommand(args: string[]): Promise<number> {
  const command = parseArguments(rolloutsCommandLine(), args);
  const { columns, json, report, ...query } = command.opts<Options>();
  const runDir = pathOf(command.args[0]);
  const found = await findRollouts(readRollouts(runDir), { ...query, columns: columns ?? [] });
  if (report !== undefined) {
    const { writeRolloutsPage } = await import("../assembly/rollouts_page.ts");
    writeData(`${await writeRolloutsPage(report, runDir, found, query)}\n`);
    return 0;
  }
  const { rollouts, matching, total } = found;
  const output = standardOutput();
  if (json) {
    for (let first = 0; first < rollouts.length; first += PER_WRITE) {
      const lines = rollouts.slice(first, first + PER_WRITE).map((record) => {
        const all: Readonly<Record<string, unknown>> = { ...record.scores, ...record };
        return `${
          JSON.stringify(columns ? Object.fromEntries(columns.map((name) => [name, all[name]])) : record)
        }\n`;
      });
      output.write(lines.join(""));
    }
    return 0;
  }
  const shown = rollouts.length === matching ? `${matching}` : `${rollouts.length} of ${matching}`;
  if (rollouts.length > 0) {
    output.write(`${rolloutsText(found, columns ?? COLUMNS, output.columns ?? WIDTH)}\n`);
  }
  output.write(`${shown} that match, of ${total}\n`);
  return 0;
}
