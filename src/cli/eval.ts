/** The `eval` command: greedy completions of the eval prompts, or answers of a file, scored and counted. */
import { InvalidArgumentError, Option } from "commander";
import { EVAL_PRESETS, type EvalPresetName } from "../config/eval_presets.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { assertFolderCanBe } from "../io/files/atomic_files.ts";
import { once, parseArguments, pathOf } from "./arguments.ts";
import {
  assertOneKind,
  assertTwoModels,
  defaultFolder,
  type SubjectOptions,
  subjectsOf,
} from "./eval_subjects.ts";
import { configCommand, type ConfigOptions, readConfig } from "./options.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { countProgress } from "./terminal/count_progress.ts";
import { standardOutput, writeData } from "./terminal/output.ts";

interface EvalOptions extends ConfigOptions, SubjectOptions {
  preset: EvalPresetName;
  output?: string;
  lambda?: number;
  kl?: true;
}

/** @throws InvalidArgumentError when it is no number >= 0 */
function parseLambda(text: string): number {
  const lambda = Number(text);
  if (text.trim() !== "" && Number.isFinite(lambda) && lambda >= 0) return lambda;
  throw new InvalidArgumentError("Need a number, at least 0.");
}

function parsePath(flag: string): (text: string) => string {
  const given = once(flag);
  return (text) => pathOf(given(text));
}

function evalOptions(args: string[]): EvalOptions {
  const command = configCommand(
    "eval",
    "Complete the eval prompts greedily, score them and count what is safe.",
  )
    .addOption(new Option("--model <name>", "folder or hub id of the model").argParser(parsePath("--model")))
    .addOption(
      new Option("--base <name>", "a model, or a file of scored answers, that the others are held against")
        .argParser(parsePath("--base")),
    )
    .addOption(
      new Option("--models <file>", "YAML of several models, NAME: MODEL").argParser(parsePath("--models")),
    )
    .addOption(
      new Option("--scored <file>", "in the place of a model: answers that have a reward and a cost (JSONL)")
        .argParser(parsePath("--scored")),
    )
    .addOption(
      new Option("--responses <file>", "in the place of a model: its answers, to be scored (JSONL)")
        .argParser(parsePath("--responses")),
    )
    .addOption(
      new Option("--preset <name>", "how answers are made: as a published table's, or as the settings say")
        .choices(Object.keys(EVAL_PRESETS)).default("ours"),
    )
    .addOption(
      new Option(
        "--output <dir>",
        "folder for the results (default: eval/ in the model's folder; of several, in output_dir)",
      ).argParser(pathOf),
    )
    .addOption(
      new Option("--lambda <number>", "of the combined scores (default: the model's run's, else lambda_cost)")
        .argParser(parseLambda),
    )
    .option("--kl", "also take the KL of each model from --base over its answers; holds both on the GPU");
  return parseArguments(command, args).opts<EvalOptions>();
}

/** The settings of the command line stand behind those of a preset, and win. */
async function configOf(options: EvalOptions): Promise<RunConfig> {
  const { preset, model, set } = options;
  const named = model === undefined ? [] : [`model_name=${model}`];
  const all = [...EVAL_PRESETS[preset].settings, ...named, ...set];
  return sweepRuns(await readConfig({ ...options, set: all }))[0];
}

/** `eval`: prints the means, writes every completion with its scores; returns the exit code. */
export async function evalCommand(args: string[]): Promise<number> {
  const options = evalOptions(args);
  assertOneKind(options, options.set);
  const config = await configOf(options);
  const { subjects, base } = await subjectsOf(options, config);
  if (options.kl) assertTwoModels(subjects, base);
  const folder = options.output ?? await defaultFolder(subjects, base, config);
  await assertFolderCanBe(folder).catch((error: Error) => {
    throw new Error(`${error.message}; or name another with --output`, { cause: error });
  });
  if (options.dryRun) {
    const { dryRunText } = await import("./dry_run.ts");
    const { columns } = standardOutput();
    writeData(await dryRunText(config, [["results", folder]], { isTraining: false, columns }));
    return 0;
  }
  const { preset, lambda, kl } = options;
  const { evaluate } = await import("./evaluation_run.ts");
  const output = standardOutput();
  const progress = countProgress(output);
  await evaluate(config, { subjects, base, folder, preset, lambda, kl }, {
    ...assemblyEvents(output),
    onCompleted: (done, all) => progress.update(`generated ${done}/${all}`, done === all),
    onScored: (done, all) => progress.update(`scored ${done}/${all}`, done === all),
  }, output).finally(progress.close);
  return 0;
}
