/** The `data` command: prompt sets made of published data. */
import { Command, InvalidArgumentError } from "commander";
import { makePkuPrompts, PKU_DATASET } from "../assembly/prompt_sets.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput } from "./terminal/output.ts";

interface PkuOptions {
  train: number;
  eval: number;
  from: string;
  output: string;
  seed: number;
}

const wholeFrom = (least: number) => (text: string): number => {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least && value < 2 ** 32) return value;
  throw new InvalidArgumentError(`required a whole number >= ${least} below 2^32.`);
};

/** `data pku`: prints where the files are; returns the exit code. */
export async function dataCommand(args: string[]): Promise<number> {
  const output = standardOutput();
  const print = (text: string) => output.write(`${text}\n`);
  const command = new Command("data").description("Make a prompt set of published data.");
  command.command("pku")
    .description("Prompts of PKU-SafeRLHF (CC BY-NC 4.0), different ones, to train on and to evaluate.")
    .option("--train <count>", "training prompts, of the split train", wholeFrom(1), 250)
    .option("--eval <count>", "evaluation prompts, of the split test", wholeFrom(1), 500)
    .option("--from <source>", "a file with its rows, or a data set on the hub (hf:org/name)", PKU_DATASET)
    .option("--output <dir>", "folder for train.jsonl, eval.jsonl and README.md", "data")
    .option("--seed <number>", "seed of the draw", wholeFrom(0), 42)
    .allowExcessArguments(false)
    .action(async (options: PkuOptions) => {
      const set = await makePkuPrompts(options, assemblyEvents(output));
      print(
        `${options.train} training prompts in ${set.train}, ${options.eval} evaluation prompts in ${set.eval}`,
      );
      print("Licence: CC BY-NC 4.0 (see the README.md beside them)");
      print(`Train on them with --set train_jsonl=${set.train} --set eval_jsonl=${set.eval}`);
    });
  await command.parseAsync(args, { from: "user" });
  return 0;
}
