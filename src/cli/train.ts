/** The `train` command: one run per value of beta. */
import { type ModelPins, modelPins, resolveModel } from "../assembly/hub.ts";
import { writeReport } from "../assembly/report.ts";
import { assembleRun, type RunFacts, type TrainedRun } from "../assembly/run.ts";
import { batchShape } from "../config/batch.ts";
import { configNotices } from "../config/rules.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { singleProcess } from "../parallel/communicator.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "./options.ts";
import { stopSignal } from "./signals.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { bannerText, memoryLines, summaryText } from "./terminal/banner.ts";
import { standardOutput, type TerminalOutput } from "./terminal/output.ts";
import { runEvents } from "./terminal/run_events.ts";

interface Sweep {
  output: TerminalOutput;
  pinModels: ModelPins;
  shouldStop(): boolean;
}

async function trainOne(wanted: RunConfig, { output, pinModels, shouldStop }: Sweep): Promise<void> {
  const shown = runEvents(output, wanted);
  const { config, facts, train, close } = await assembleRun(wanted, { events: shown.assembly, pinModels });
  const banner = (firstStep: number, maxSteps: number) =>
    bannerText({
      ...facts,
      modelName: config.model_name,
      memory: memoryLines(facts.memory, config.per_device_train_batch_size),
      perDeviceTrainBatchSize: config.per_device_train_batch_size,
      shape: batchShape(config, facts.worldSize),
      numGenerations: config.num_generations,
      firstStep,
      maxSteps,
    });
  try {
    const trained = await train(shown.training(banner), shouldStop);
    shown.close();
    await reportRun(output, facts, trained);
  } finally {
    shown.close();
    await close();
  }
}

async function reportRun(
  output: TerminalOutput,
  { runDir, memory }: RunFacts,
  { rows, finished, trainingSeconds, progress, peakBytes }: TrainedRun,
): Promise<void> {
  if (rows.length === 0 && finished) {
    output.write(
      `Nothing left to do: ${runDir} is complete at step ${progress.step}. Start over with --set resume=false.\n`,
    );
    return;
  }
  const page = await writeReport(runDir);
  const plannedBytes = memory.plan.peakBytes;
  const summary = summaryText({ rows, runDir, trainingSeconds, plannedBytes, peakBytes });
  output.write(`${summary}\nReport: ${page}\n`);
  if (!finished) output.write(`Stopped after step ${progress.step}; the same command goes on from there.\n`);
}

/** `train`: returns the exit code. */
export async function trainCommand(args: string[]): Promise<number> {
  const command = configCommand("train", "Train a policy with GRPO under a cost constraint.").parse(args, {
    from: "user",
  });
  const options = command.opts<ConfigOptions>();
  const config = await readConfig(options);
  if (isDryRun(options, config)) return 0;
  batchShape(config, singleProcess.size);
  const output = standardOutput();
  for (const notice of configNotices(config)) output.write(`Note: ${notice}\n`);
  const { shouldStop, exitCode } = stopSignal((text) => output.write(text));
  const { onBytes } = assemblyEvents(output);
  const pinModels = modelPins((name) => resolveModel(name, { onBytes }));
  for (const run of sweepRuns(config)) {
    if (shouldStop()) break;
    await trainOne(run, { output, pinModels, shouldStop });
  }
  return exitCode();
}
