/** The runs of a `train` command, one after the other, on the terminal. */
import { join } from "node:path";
import { type ModelPins, modelPins, resolveModel } from "../assembly/hub.ts";
import { writeReport } from "../assembly/report.ts";
import { serveReport } from "../assembly/report_server.ts";
import { judgesText } from "../assembly/judges.ts";
import { assembleRun, type RunFacts, type TrainedRun } from "../assembly/run.ts";
import { runFolder } from "../assembly/run_folder.ts";
import { batchShape } from "../config/batch.ts";
import { commandLine, shellWord } from "../config/command_line.ts";
import type { RunConfig } from "../config/sweep.ts";
import { messageOf } from "../io/files/errors.ts";
import { isThere } from "../io/files/presence.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { openGpu } from "../gpu/device.ts";
import { isOnAnyRank } from "../parallel/any_rank.ts";
import { weightsFile } from "../train/checkpointing.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { bannerText, bestStepText, memoryLines } from "./terminal/banner.ts";
import { withoutDriverNoise } from "./terminal/driver_noise.ts";
import type { TerminalOutput } from "./terminal/output.ts";
import { runEvents } from "./terminal/run_events.ts";
import { comparisonLine, summaryText } from "./terminal/summary.ts";
import type { StopSignal } from "./signals.ts";
import { weightsHash } from "./weights_hash.ts";

interface Sweep {
  output: TerminalOutput;
  pinModels: ModelPins;
  stop: StopSignal;
  communicator: Communicator;
  /** As it was typed. */
  command: string;
}

interface Watched {
  /** Whether the report is served meanwhile. */
  watch?: boolean;
}

/**
 * Trains one run after the other until a signal comes, and says of several how to compare them.
 * @throws EndedBySignal when one comes before a run's training has begun
 */
export async function trainRuns(
  runs: readonly RunConfig[],
  { watch = false, ...sweep }: Omit<Sweep, "pinModels"> & Watched,
): Promise<void> {
  const { output, stop, communicator } = sweep;
  await stop.untilAsked(() => withoutDriverNoise(openGpu));
  const begun: string[] = [];
  const server = watch && communicator.rank === 0 ? await serveReport(() => begun) : null;
  if (server !== null) output.write(`Report while it trains: ${server.url}\n`);
  try {
    await trainEach(runs, { ...sweep, onRun: (run) => begun.push(runFolder(run)) });
  } finally {
    await server?.close();
  }
}

async function trainEach(
  runs: readonly RunConfig[],
  { onRun, ...sweep }: Omit<Sweep, "pinModels"> & { onRun(run: RunConfig): void },
): Promise<void> {
  const { output, stop, communicator } = sweep;
  const { onBytes } = assemblyEvents(output);
  const pinModels = modelPins((name) => resolveModel(name, { onBytes }));
  const folders: string[] = [];
  for (const run of runs) {
    if (await isOnAnyRank(communicator, stop.shouldStop())) break;
    onRun(run);
    folders.push(await trainOne(run, { ...sweep, pinModels }));
  }
  if (folders.length > 1) output.write(`${comparisonLine(folders)}\n`);
}

/** @returns the run's folder */
async function trainOne(
  wanted: RunConfig,
  { output, pinModels, stop, communicator, command }: Sweep,
): Promise<string> {
  const shown = runEvents(output, wanted);
  const { config, facts, train, close } = await stop.untilAsked((signal) =>
    assembleRun(wanted, { events: shown.assembly, pinModels, signal, communicator, command })
  ).catch((error) => {
    shown.close();
    throw error;
  });
  let doneBefore = 0;
  const banner = (firstStep: number, maxSteps: number) => {
    doneBefore = firstStep - 1;
    return bannerText({
      ...facts,
      modelName: config.model_name,
      judges: judgesText(config),
      memory: memoryLines(facts.memory, config.per_device_train_batch_size),
      perDeviceTrainBatchSize: config.per_device_train_batch_size,
      shape: batchShape(config, facts.worldSize),
      numGenerations: config.num_generations,
      firstStep,
      maxSteps,
      best: bestStepText(config),
    }, output.columns);
  };
  try {
    const trained = await train(shown.training(banner), stop);
    shown.close();
    const steps = trained.progress.step - doneBefore;
    if (communicator.rank === 0) await reportRun(output, config, facts, { ...trained, steps });
  } finally {
    shown.close();
    await close();
  }
  return facts.runDir;
}

/** Writes the report, whose path it returns; what trained is not lost where it cannot be written. */
const reportText = (runDir: string): Promise<string> =>
  writeReport(runDir).catch((error) =>
    `not written: ${messageOf(error)}; then ${
      commandLine(process.env, "report", shellWord(runDir))
    } writes it`
  );

async function reportRun(
  output: TerminalOutput,
  config: RunConfig,
  { runDir, memory }: RunFacts,
  { rows, steps, finished, trainingSeconds, progress, peakBytes, best }: TrainedRun & { steps: number },
): Promise<void> {
  if (rows.length === 0 && finished) {
    output.write(
      `Nothing left to do: ${runDir} is complete at step ${progress.step}. Start over with --set resume=false.\n`,
    );
    // The run before may have ended before it came to that.
    if (!await isThere(join(runDir, "report.html"))) output.write(`report  ${await reportText(runDir)}\n`);
    return;
  }
  if (progress.step === 0) {
    output.write("Stopped before the first step was done; the same command starts again.\n");
    return;
  }
  const report = await reportText(runDir);
  const weights = finished ? await weightsHash(runDir, weightsFile(config)) : null;
  const plannedBytes = memory.plan.peakBytes;
  const facts = { rows, steps, runDir, report, weights, trainingSeconds, plannedBytes, peakBytes, best };
  output.write(`${summaryText(facts, output.columns)}\n`);
  if (!finished) output.write(`Stopped after step ${progress.step}; the same command goes on from there.\n`);
}
