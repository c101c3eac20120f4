/** The `eval` command: greedy completions of the eval prompts, scored. */
import { Option } from "commander";
import { evaluateModel, writeEvaluation } from "../assembly/evaluation.ts";
import { sweepRuns } from "../config/sweep.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "./options.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput } from "./terminal/output.ts";

interface EvalOptions extends ConfigOptions {
  output?: string;
}

/** `eval`: prints the means, writes every completion with its scores; returns the exit code. */
export async function evalCommand(args: string[]): Promise<number> {
  const command = configCommand("eval", "Complete the eval prompts greedily and score them.")
    .addOption(
      new Option("--output <dir>", "folder for eval.json and eval_samples.jsonl (default: output_dir)"),
    )
    .parse(args, { from: "user" });
  const options = command.opts<EvalOptions>();
  const settings = await readConfig(options);
  if (isDryRun(options, settings)) return 0;
  const config = sweepRuns(settings)[0];
  const output = standardOutput();
  const print = (text: string) => output.write(`${text}\n`);
  const onCompleted = (done: number, all: number) => print(`generated ${done}/${all}`);
  const evaluated = await evaluateModel(config, { events: { ...assemblyEvents(output), onCompleted } });
  const folder = options.output ?? config.output_dir;
  await writeEvaluation(folder, evaluated);
  print(JSON.stringify(evaluated.summary, null, 2));
  print(`Written to ${folder}/eval.json and eval_samples.jsonl`);
  return 0;
}
