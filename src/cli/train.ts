/** The `train` command: one run per value of beta. */
import { batchShape } from "../config/batch.ts";
import { commandLine, shellWord } from "../config/command_line.ts";
import { configNotices } from "../config/rules.ts";
import { shownCommand } from "../config/shown_command.ts";
import { sweepRuns } from "../config/sweep.ts";
import { assertFolderCanBe } from "../io/files/atomic_files.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { parseArguments } from "./arguments.ts";
import { configCommand, type ConfigOptions, defaultsNotices, readRun } from "./options.ts";
import { type Launch, type LaunchOptions, readLaunch, withLaunchOptions } from "./launch_options.ts";
import { answerRollCall } from "./roll_call.ts";
import { EndedBySignal, stopSignal } from "./signals.ts";
import { wrapText } from "./terminal/columns.ts";
import { SILENT, standardOutput, type TerminalOutput, writeData } from "./terminal/output.ts";

const isNotDryRun = (word: string) => word !== "--dry-run";

interface TrainOptions extends ConfigOptions, LaunchOptions {
  watch?: true;
}

/** `train`: returns the exit code. */
export async function trainCommand(args: string[]): Promise<number> {
  const command = withLaunchOptions(
    configCommand("train", "Train a policy with GRPO under a cost constraint."),
  ).option("--watch", "serve the report on this machine while it trains, and say where");
  const options = parseArguments(command, args).opts<TrainOptions>();
  const launch = await readLaunch(options);
  const { config, notices: ofDeepspeed } = await readRun(options, launch);
  const notices = [
    ...launch.notices,
    ...ofDeepspeed,
    ...configNotices(config),
    ...defaultsNotices(command, config),
  ];
  batchShape(config, launch.size);
  const runs = sweepRuns(config);
  await assertFolderCanBe(config.output_dir);
  // Rank 0 alone reports, and the others may lie where nothing is known of its services.
  if ((launch.world?.rank ?? 0) === 0) {
    const { assertReporters } = await import("../tracking/sinks.ts");
    assertReporters(config.report_to);
  }
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
    const { columns } = standardOutput();
    writeData(await dryRunText(config, lines, { isTraining: true, worldSize: launch.size, columns }));
    return 0;
  }
  const output = (launch.world?.rank ?? 0) > 0 ? SILENT : standardOutput();
  if (launch.world === null && launch.size > 1) {
    const { runRanks } = await import("./launch.ts");
    return await runRanks(launch.size, ["train", ...args], output);
  }
  for (const notice of notices) {
    output.write(`${wrapText(`Note: ${notice}`, output.columns ?? Infinity, 6, 0)}\n`);
  }
  const stop = stopSignal((text) => output.write(text));
  answerRollCall(launch.world?.rank ?? 0);
  const { assertModelNames, modelPlaces } = await import("../assembly/hub.ts");
  await assertModelNames(modelPlaces(config).map(({ name }) => name));
  const typed = shownCommand(process.env, "train", args);
  try {
    const { trainRuns } = await stop.untilAsked(() => import("./train_runs.ts"));
    await withRanks(
      launch,
      output,
      (communicator) => trainRuns(runs, { output, stop, communicator, watch: options.watch, command: typed }),
    );
  } catch (error) {
    // Ranks that were asked to end at once leave each other amid what they did together.
    if (!(error instanceof EndedBySignal) && !stop.isHurried()) throw error;
    if (stop.isHurried()) output.write(`${(error as Error).message}\n`);
  }
  return stop.exitCode();
}

/** Takes this rank's GPU and joins the others, until `body` has ended. */
async function withRanks(
  { world, gpuIds, useCpu }: Launch,
  output: TerminalOutput,
  body: (communicator: Communicator) => Promise<void>,
): Promise<void> {
  if (world === null && gpuIds === null && !useCpu) return await body(singleProcess);
  const [{ openRanks }, { assertOwnDevices, takeDevice }] = await Promise.all([
    import("../assembly/ranks.ts"),
    import("../assembly/devices.ts"),
  ]);
  // MPI first: it sets up what calls C, before anything else is called there.
  const { communicator, localRank, close } = await openRanks();
  try {
    const { CUDA_VISIBLE_DEVICES: visible } = process.env;
    const device = await takeDevice({ localRank, gpuIds, useCpu, visible });
    const shared = await assertOwnDevices(communicator, device);
    if (shared !== null) output.write(`Note: ${shared}\n`);
    await body(communicator);
  } catch (error) {
    // There is nothing to save: the end of this process ends all ranks, whatever they are at.
    if (error instanceof EndedBySignal) throw error;
    communicator.leave(error);
    await close().catch(() => {}); // the others' reason, where they have one of their own
    throw error;
  }
  await close();
}
