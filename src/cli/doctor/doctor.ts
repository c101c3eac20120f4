/** The `doctor` command: what this machine has, what a run lacks, and what to do about it. Installs nothing. */
import { type RunConfig, sweepRuns } from "../../config/sweep.ts";
import { formatBytes } from "../../config/units.ts";
import { type GpuInfo, openGpu } from "../../gpu/device.ts";
import { matrixUnitsMissing } from "../../gpu/precision.ts";
import {
  driverFindings,
  exitCodeOf,
  type Finding,
  formatDiagnosis,
  gpuFindings,
  machineFindings,
  requirementFindings,
  type Section,
} from "./diagnosis.ts";
import { lookUpName } from "../../assembly/hub.ts";
import { servesScoreModels } from "../../assembly/judges.ts";
import { kernelChoice } from "../../assembly/kernel_tuning.ts";
import { probeDrivers, probeMachine } from "./machine_probe.ts";
import { planRun } from "../../assembly/memory.ts";
import { promptLengths } from "../../assembly/prompts.ts";
import { parseArguments } from "../arguments.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "../options.ts";
import { memoryLines } from "../terminal/banner.ts";
import { assemblyEvents } from "../terminal/assembly_events.ts";
import { standardOutput } from "../terminal/output.ts";
import { probeRequirements } from "./requirements.ts";

/** The opened device's description, or why none opens: a machine without a GPU is a finding here, not a failure. */
async function probeGpu(): Promise<GpuInfo | Error> {
  try {
    return (await openGpu()).info;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** What `doctor` says about matrix products on the device that is open. */
async function kernelFindings(info: GpuInfo): Promise<Finding[]> {
  const missing = matrixUnitsMissing();
  return [
    { mark: "ok", subject: "matmul kernels", detail: await kernelChoice(info, process.env) },
    missing === undefined
      ? { mark: "ok", subject: "float16 matmuls", detail: "on matrix units, where they are asked for" }
      : { mark: "note", subject: "float16 matmuls", detail: `not on this device: ${missing}; optional` },
  ];
}

/** Models of the run that lie on a hub and not in the cache. */
async function notDownloaded(config: RunConfig): Promise<string[]> {
  const scorers = servesScoreModels(config) ? [config.reward_model, config.cost_model] : [];
  const found = await Promise.all([config.model_name, ...scorers].map(lookUpName));
  return found.filter(({ dir }) => dir === undefined).map(({ name }) => name);
}

/** The memory that training with the config takes, part by part, or why that cannot be said. */
async function memorySection(options: ConfigOptions): Promise<Section> {
  const title = "GPU memory";
  try {
    const [run] = sweepRuns(await readConfig(options));
    const missing = await notDownloaded(run);
    if (missing.length > 0) {
      const detail = `known once ${missing.join(" and ")} is downloaded, which training does`;
      return { title, findings: [{ mark: "note", subject: "training", detail }] };
    }
    const events = assemblyEvents(standardOutput());
    const planned = await planRun(run, await promptLengths(run, events), events);
    const [total] = memoryLines(planned, run.per_device_train_batch_size);
    const parts = planned.plan.parts.map(({ name, bytes }): Finding => ({
      mark: "note",
      subject: name,
      detail: formatBytes(bytes),
    }));
    const findings: Finding[] = [{ mark: "ok", subject: "training", detail: total }, ...parts];
    return { title, findings };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    const remedy = "set what the message says, or what the lines above miss";
    return { title, findings: requirementFindings([{ subject: "training", outcome: { failure, remedy } }]) };
  }
}

async function configSection(options: ConfigOptions): Promise<Section> {
  const title = `Run with ${options.config}`;
  try {
    const config = await readConfig(options);
    const read = { subject: "settings", outcome: { detail: "valid" } };
    return { title, findings: requirementFindings([read, ...await probeRequirements(config)]) };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    const remedy = "correct the settings as said above; docs/config.md explains every key";
    return { title, findings: requirementFindings([{ subject: "settings", outcome: { failure, remedy } }]) };
  }
}

/** `doctor`: prints the diagnosis; returns 0 when training with the config can start, else 1. */
export async function doctorCommand(args: string[]): Promise<number> {
  const command = configCommand(
    "doctor",
    "Say what this machine has and what training with the config lacks.",
  );
  const options = parseArguments(command, args).opts<ConfigOptions>();
  if (options.dryRun && isDryRun(options, await readConfig(options))) return 0;
  const drivers = probeDrivers(process.env);
  const gpu = await probeGpu();
  const kernels = gpu instanceof Error ? [] : await kernelFindings(gpu);
  const sections: Section[] = [
    { title: "Machine", findings: machineFindings(await probeMachine()) },
    { title: "Vulkan drivers", findings: driverFindings(drivers) },
    { title: "GPU", findings: [...gpuFindings(gpu, drivers), ...kernels] },
    await configSection(options),
    await memorySection(options),
  ];
  const verdict = {
    ready: `Ready: training with ${options.config} can start.`,
    notReady:
      `Not ready: training with ${options.config} cannot start until what is marked "missing" is there.`,
  };
  process.stdout.write(`${formatDiagnosis(sections, verdict)}\n`);
  return exitCodeOf(sections);
}
