/** The `train` command: one run per value of beta. */
import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { batchShape } from "../config/batch.ts";
import { configNotices } from "../config/rules.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { evaluatePolicy } from "../evaluate/evaluate.ts";
import { trimPool } from "../gpu/pool.ts";
import { openGpu } from "../gpu/device.ts";
import { setMatmulPrecision } from "../gpu/precision.ts";
import { assertWritableFolder, setAside, writeFileAtomic } from "../io/files/atomic_files.ts";
import { singleProcess } from "../parallel/communicator.ts";
import { disposePolicyWeights, trainableWeights } from "../policy/adapters.ts";
import { disposeTrunk } from "../policy/llama.ts";
import { listWeights, parameterCount } from "../policy/weights.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import { runTraining, type TrainingResult } from "../train/loop.ts";
import type { TrainingEvents } from "../train/run.ts";
import { adapterSettings, writeAdapterConfig, writeMergedModel } from "../assembly/adapters.ts";
import { type ModelPins, modelPins } from "../assembly/hub.ts";
import { tuneKernels } from "../assembly/kernel_tuning.ts";
import { lengthsOf, loadPrompts, memoryLines, planRun } from "../assembly/memory.ts";
import { type LoadedPolicy, loadPolicy } from "../assembly/models.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "./options.ts";
import { writeReport } from "../assembly/report.ts";
import { openScorer } from "../assembly/scorer.ts";
import { stopSignal } from "./signals.ts";
import { bannerText, openTerminal, summaryText, type Terminal } from "./terminal/run_terminal.ts";

const output = {
  write: (text: string) => void process.stdout.write(text),
  isTTY: process.stdout.isTTY === true,
  columns: process.stdout.columns,
};

export function runFolder(config: RunConfig): string {
  return join(config.output_dir, `beta${config.beta}_seed${config.seed}_unified`);
}

/** What is saved beside the weights: adapter_config.json, or config.json with the type that they are saved in. */
async function writeModelConfig(
  runDir: string,
  { policy, configText, tokenizer, base }: LoadedPolicy,
  dtype: RunConfig["dtype"],
): Promise<string[]> {
  if (policy.adapters) {
    return [await writeAdapterConfig(runDir, policy.adapters, base.name), ...tokenizer.files];
  }
  const { torch_dtype: _old, ...json } = JSON.parse(configText);
  const path = join(runDir, "config.json");
  await writeFileAtomic(
    path,
    `${JSON.stringify({ ...json, dtype, torch_dtype: dtype }, null, 2)}\n`,
  );
  return [path, ...tokenizer.files];
}

/** Copies tokenizer files beside the final weights, so that the folder opens as a model. */
async function copyTokenizer(runDir: string, files: readonly string[]): Promise<void> {
  for (const file of files) await copyFile(file, join(runDir, basename(file)));
}

/** Shows a run on the terminal, which is opened once the first step is known. */
function terminalEvents(config: RunConfig, banner: (firstStep: number, steps: number) => string) {
  let terminal: Terminal | null = null;
  const events: TrainingEvents = {
    onStart(firstStep, steps) {
      output.write(`${banner(firstStep, steps)}\n`);
      terminal = openTerminal(output, config, { firstStep, maxSteps: steps });
    },
    onGenerating: (step, progress) => terminal?.generating(step, progress),
    onStep(row, texts) {
      terminal?.samples(texts);
      terminal?.step(row);
    },
    onEvaluation: (row) => terminal?.print(evaluationLine(row)),
    onMessage: (text) => terminal ? terminal.print(text) : output.write(`${text}\n`),
  };
  return { events, close: () => terminal?.close() };
}

function evaluationLine(row: MetricRow): string {
  const of = (name: keyof MetricRow) => (row[name] ?? NaN).toFixed(3);
  return `evaluation after step ${row.step}: safe ratio ${of("eval/safe_ratio")}, reward ${
    of("eval/mean_reward")
  }, ` +
    `cost ${of("eval/mean_cost")} over ${row["eval/total_samples"]} prompts (greedy)`;
}

async function trainOne(
  wanted: RunConfig,
  pinModels: ModelPins,
  shouldStop: () => boolean,
): Promise<TrainingResult> {
  const { info, memory } = await openGpu();
  setMatmulPrecision(wanted.matmul_precision);
  const config = await pinModels(wanted, runFolder(wanted));
  const { tokenizer, prompts, evalPrompts } = await loadPrompts(config);
  const lengths = lengthsOf({ prompts, evalPrompts });
  const planned = await planRun(config, lengths);
  const loaded = await loadPolicy(config.model_name, config.dtype, adapterSettings(config), tokenizer);
  const { policy } = loaded;
  const mostTokens = planned.plan.rowsPerPass * (lengths.longestPrompt + config.max_completion_length);
  const weights = [...listWeights(policy.weights), ...trainableWeights(policy)];
  await tuneKernels(info, weights, mostTokens, output);
  const runDir = runFolder(config);
  const device = `${info.name} (${info.runtime} ${info.runtimeVersion})`;
  const banner = (firstStep: number, steps: number) =>
    bannerText({
      device,
      modelName: config.model_name,
      parameterCount: parameterCount(listWeights(policy.weights)),
      trainedCount: parameterCount(trainableWeights(policy)),
      runDir,
      memory: memoryLines(planned, config.per_device_train_batch_size),
      perDeviceTrainBatchSize: config.per_device_train_batch_size,
      shape: batchShape(config, singleProcess.size),
      worldSize: singleProcess.size,
      numGenerations: config.num_generations,
      firstStep,
      maxSteps: steps,
    });
  const { events, close } = terminalEvents(config, banner);
  const { scorer, close: closeScorer } = await openScorer(config, device, (text) => events.onMessage(text));
  try {
    const before = config.resume ? undefined : await setAside(runDir);
    if (before !== undefined) events.onMessage(`Starting over; the run before is kept as ${before}`);
    await assertWritableFolder(runDir);
    const describeRun = async () => {
      await writeFileAtomic(join(runDir, RUN_CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
      return await writeModelConfig(runDir, loaded, config.dtype);
    };
    const result = await runTraining({
      runDir,
      policy,
      tokenizer,
      prompts,
      scorer,
      communicator: singleProcess,
      rowsPerPass: planned.plan.rowsPerPass,
      evaluate: evalPrompts &&
        ((lambda) => evaluatePolicy({ policy, tokenizer, scorer, prompts: evalPrompts, config }, lambda)),
      describeRun,
      events,
      shouldStop,
    }, config);
    await copyTokenizer(runDir, tokenizer.files);
    if (config.lora_merge && result.finished) {
      await writeMergedModel(join(runDir, "merged"), loaded.base.dir, policy.adapters!, tokenizer.files);
    }
    close();
    await reportRun(runDir, result, { plannedBytes: planned.plan.peakBytes, peakBytes: memory().peakBytes });
    return result;
  } finally {
    close();
    await closeScorer();
    disposePolicyWeights(policy);
    disposeTrunk(policy);
    trimPool(); // the next run of a sweep plans with what is free
  }
}

async function reportRun(
  runDir: string,
  { rows, finished, trainingSeconds, progress }: TrainingResult,
  memory: { plannedBytes: number; peakBytes: number },
): Promise<void> {
  if (rows.length === 0 && finished) {
    output.write(
      `Nothing left to do: ${runDir} is complete at step ${progress.step}. Start over with --set resume=false.\n`,
    );
    return;
  }
  const page = await writeReport(runDir);
  output.write(`${summaryText({ rows, runDir, trainingSeconds, ...memory })}\nReport: ${page}\n`);
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
  for (const notice of configNotices(config)) output.write(`Note: ${notice}\n`);
  const { shouldStop, exitCode } = stopSignal((text) => output.write(text));
  const pinModels = modelPins();
  for (const run of sweepRuns(config)) {
    if (shouldStop()) break;
    await trainOne(run, pinModels, shouldStop);
  }
  return exitCode();
}
