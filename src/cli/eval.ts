/** The `eval` command: greedy completions of the eval prompts, scored. */
import { InvalidArgumentError, Option } from "commander";
import { evaluateModel, writeEvaluation } from "../assembly/evaluation.ts";
import { sweepRuns } from "../config/sweep.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "./options.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput } from "./terminal/output.ts";

interface EvalOptions extends ConfigOptions {
  output?: string;
  lambda?: number;
}

/** @throws InvalidArgumentError when it is no number >= 0 */
function parseLambda(text: string): number {
  const lambda = Number(text);
  if (text.trim() !== "" && Number.isFinite(lambda) && lambda >= 0) return lambda;
  throw new InvalidArgumentError("Need a number, at least 0.");
}

/** `eval`: prints the means, writes every completion with its scores; returns the exit code. */
export async function evalCommand(args: string[]): Promise<number> {
  const command = configCommand("eval", "Complete the eval prompts greedily and score them.")
    .addOption(
      new Option("--output <dir>", "folder for eval.json and eval_samples.jsonl (default: output_dir)"),
    )
    .addOption(
      new Option("--lambda <number>", "of the combined scores (default: the model's run's, else lambda_cost)")
        .argParser(parseLambda),
    )
    .parse(args, { from: "user" });
  const options = command.opts<EvalOptions>();
  const settings = await readConfig(options);
  if (isDryRun(options, settings)) return 0;
  const config = sweepRuns(settings)[0];
  const output = standardOutput();
  const print = (text: string) => output.write(`${text}\n`);
  const evaluated = await evaluateModel(config, {
    ...assemblyEvents(output),
    onCompleted: (done, all) => print(`generated ${done}/${all}`),
  }, options);
  const folder = options.output ?? config.output_dir;
  await writeEvaluation(folder, evaluated);
  print(JSON.stringify(evaluated.summary, null, 2));
  print(`Written to ${folder}/eval.json and eval_samples.jsonl`);
  return 0;
}
