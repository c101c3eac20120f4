/** The `eval` command: greedy completions of the eval prompts, scored. */
import { join } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { assertFolderCanBe } from "../io/files/atomic_files.ts";
import { isFolder } from "../io/files/presence.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { configCommand, type ConfigOptions, readConfig } from "./options.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { countProgress } from "./terminal/count_progress.ts";
import { standardOutput, writeData } from "./terminal/output.ts";

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

/**
 * Where the results of a model lie: in the folder `eval` of the model's own, so that those of another model are not
 * written over; of a model from a hub, in a folder of its name below output_dir.
 */
export async function evaluationFolder({ model_name, output_dir }: RunConfig): Promise<string> {
  return await isFolder(model_name)
    ? join(model_name, "eval")
    : join(output_dir, "eval", model_name.replaceAll(/[^\w.@-]+/g, "--"));
}

/** `eval`: prints the means, writes every completion with its scores; returns the exit code. */
export async function evalCommand(args: string[]): Promise<number> {
  const command = configCommand("eval", "Complete the eval prompts greedily and score them.")
    .addOption(
      new Option(
        "--output <dir>",
        "folder for eval.json and eval_samples.jsonl (default: eval/ in the model's folder)",
      ).argParser(pathOf),
    )
    .addOption(
      new Option("--lambda <number>", "of the combined scores (default: the model's run's, else lambda_cost)")
        .argParser(parseLambda),
    );
  const options = parseArguments(command, args).opts<EvalOptions>();
  const config = sweepRuns(await readConfig(options))[0];
  const folder = options.output ?? await evaluationFolder(config);
  await assertFolderCanBe(folder).catch((error: Error) => {
    throw new Error(`${error.message}; or name another with --output`, { cause: error });
  });
  if (options.dryRun) {
    const { dryRunText } = await import("./dry_run.ts");
    const { columns } = standardOutput();
    writeData(await dryRunText(config, [["results", folder]], { isTraining: false, columns }));
    return 0;
  }
  const { assertModelNames, modelKeys } = await import("../assembly/hub.ts");
  await assertModelNames(modelKeys(config).map((key) => config[key]));
  const { evaluate } = await import("./evaluation_run.ts");
  const output = standardOutput();
  const progress = countProgress(output);
  const summary = await evaluate(config, { folder, lambda: options.lambda }, {
    ...assemblyEvents(output),
    onCompleted: (done, all) => progress.update(`generated ${done}/${all}`, done === all),
  }).finally(progress.close);
  output.write(`${JSON.stringify(summary, null, 2)}\n`);
  output.write(`Written to ${folder}/eval.json and eval_samples.jsonl\n`);
  return 0;
}
