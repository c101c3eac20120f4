/** The `train` command: one run per value of beta. */
import { batchShape } from "../config/batch.ts";
import { commandLine } from "../config/command_line.ts";
import { configNotices } from "../config/rules.ts";
import { sweepRuns } from "../config/sweep.ts";
import { assertFolderCanBe } from "../io/files/atomic_files.ts";
import { singleProcess } from "../parallel/communicator.ts";
import { parseArguments } from "./arguments.ts";
import { configCommand, type ConfigOptions, defaultsNotices, readConfig } from "./options.ts";
import { EndedBySignal, stopSignal } from "./signals.ts";
import { standardOutput } from "./terminal/output.ts";
import { shellWord } from "./terminal/summary.ts";

const isNotDryRun = (word: string) => word !== "--dry-run";

/** `train`: returns the exit code. */
export async function trainCommand(args: string[]): Promise<number> {
  const command = configCommand("train", "Train a policy with GRPO under a cost constraint.");
  const options = parseArguments(command, args).opts<ConfigOptions>();
  const config = await readConfig(options);
  const notices = [...configNotices(config), ...defaultsNotices(command, config)];
  batchShape(config);
  const runs = sweepRuns(config);
  await assertFolderCanBe(config.output_dir);
  // What a mistyped setting need not wait for is loaded from here on.
  if (options.dryRun) {
    const [{ runFolder }, { dryRunText }] = await Promise.all([
      import("../assembly/run_folder.ts"),
      import("./dry_run.ts"),
    ]);
    // A plan of a 7B model takes many seconds, and this answers at once.
    const doctor = commandLine(process.env, "doctor", ...args.filter(isNotDryRun).map(shellWord));
    const lines = [
      ["runs", runs.map(runFolder).join(", ")] as const,
      ["GPU memory", `planned by: ${doctor}`] as const,
      ...notices.map((notice) => ["note", notice] as const),
    ];
    process.stdout.write(await dryRunText(config, lines, { isTraining: true }));
    return 0;
  }
  const output = standardOutput();
  for (const notice of notices) output.write(`Note: ${notice}\n`);
  const stop = stopSignal((text) => output.write(text));
  const { assertModelNames, modelKeys } = await import("../assembly/hub.ts");
  await assertModelNames(modelKeys(config).map((key) => config[key]));
  try {
    const { trainRuns } = await stop.untilAsked(() => import("./train_runs.ts"));
    await trainRuns(runs, { output, stop, communicator: singleProcess });
  } catch (error) {
    if (!(error instanceof EndedBySignal)) throw error;
  }
  return stop.exitCode();
}
