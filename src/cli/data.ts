/** The `data` command: prompt sets made of published data. */
import { Command } from "commander";
import { makePkuPrompts, PKU_DATASET } from "../assembly/prompt_sets.ts";
import { nearestName } from "../config/unknown_key.ts";
import { isDatasetName } from "../io/hub/dataset_files.ts";
import { listsOptions, once, parseArguments, pathOf, wholeFrom } from "./arguments.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput } from "./terminal/output.ts";

interface PkuOptions {
  train: number;
  eval: number;
  from: string;
  output: string;
  seed: number;
}

/** Reads a path, or the name of a data set. */
function sourceOf(flag: string): (text: string) => string {
  const given = once(flag);
  return (text) => isDatasetName(given(text)) ? text : pathOf(text);
}

function pkuCommand(): Command {
  return new Command("pku")
    .description("Prompts of PKU-SafeRLHF (CC BY-NC 4.0), different ones, to train on and to evaluate.")
    .option("--train <count>", "training prompts, of the split train", wholeFrom("--train", 1), 250)
    .option("--eval <count>", "evaluation prompts, of the split test", wholeFrom("--eval", 1), 500)
    .option(
      "--from <source>",
      "a file with its rows, or a data set on the hub (hf:org/name)",
      sourceOf("--from"),
      PKU_DATASET,
    )
    .option(
      "--output <dir>",
      "folder for train.jsonl, eval.jsonl and README.md",
      sourceOf("--output"),
      "data",
    )
    .option("--seed <number>", "seed of the draw", wholeFrom("--seed", 0), 42)
    .allowExcessArguments(false);
}

/** The prompt sets that there are: their options, and what makes them. */
const SETS = new Map([["pku", { command: pkuCommand, make: makePku }]]);

async function makePku(options: PkuOptions): Promise<void> {
  const output = standardOutput();
  const print = (text: string) => output.write(`${text}\n`);
  const set = await makePkuPrompts(options, assemblyEvents(output));
  print(
    `${options.train} training prompts in ${set.train}, ${options.eval} evaluation prompts in ${set.eval}`,
  );
  print("Licence: CC BY-NC 4.0 (see the README.md beside them)");
  print(`Train on them with --set train_jsonl=${set.train} --set eval_jsonl=${set.eval}`);
}

/** @throws RangeError when it is called; it names the sets that there are */
function refuseName(name: string | undefined): never {
  const names = [...SETS.keys()];
  const nearest = name === undefined ? null : nearestName(name, names);
  const found = name === undefined ? "nothing" : `"${name}"`;
  const meant = nearest === null ? "" : `; did you mean "${nearest}"?`;
  throw new RangeError(
    `data needs the name of a prompt set behind it (${names.join(", ")}), got ${found}${meant}; ` +
      listsOptions(`data ${names[0]}`),
  );
}

/**
 * `data SET`: prints where the files are; returns the exit code.
 * @throws RangeError when there is no such set, or a word is none of its options
 */
export async function dataCommand(args: string[]): Promise<number> {
  const [name, ...words] = args;
  const all = new Command("data").description("Make a prompt set of published data.").helpCommand(false);
  const commands = new Map(
    [...SETS].map(([name, { command, make }]) => [name, { command: command(), make }]),
  );
  for (const { command } of commands.values()) all.addCommand(command);
  if (/^--?h/.test(name ?? "")) parseArguments(all, args); // says what there is, and ends the process
  const set = commands.get(name ?? "") ?? refuseName(name);
  await set.make(parseArguments(set.command, words).opts<PkuOptions>());
  return 0;
}
