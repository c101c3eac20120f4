/** The `doctor` command: what this machine has, what a run lacks, and what to do about it. Installs nothing. */
import { type GpuInfo, openGpu } from "../../gpu/device.ts";
import { matrixUnitsMissing } from "../../gpu/precision.ts";
import { AUTO_PRECISION, precisionText, settledPrecision } from "../../policy/precision.ts";
import { messageOf } from "../../io/files/errors.ts";
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
import { kernelChoice } from "../../assembly/kernel_tuning.ts";
import { probeDrivers, probeMachine } from "./machine_probe.ts";
import { ranksSection } from "./ranks_probe.ts";
import { lambdaNotes } from "./lambda_notes.ts";
import { memorySection, plannedSection } from "./memory_probe.ts";
import { modelSection } from "./model_probe.ts";
import { parseArguments } from "../arguments.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "../options.ts";
import {
  type Launch,
  type LaunchOptions,
  readLaunch,
  wholeNumber,
  withLaunchOptions,
} from "../launch_options.ts";
import { withoutDriverNoise } from "../terminal/driver_noise.ts";
import { standardOutput } from "../terminal/output.ts";
import { probeRequirements } from "./requirements.ts";

/** The opened device's description, or why none opens: a machine without a GPU is a finding here, not a failure. */
async function probeGpu(): Promise<GpuInfo | Error> {
  try {
    return (await withoutDriverNoise(openGpu)).info;
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
    { mark: "ok", subject: "auto precision", detail: precisionText(settledPrecision(AUTO_PRECISION)) },
  ];
}

async function configSection(options: ConfigOptions, launch: Launch): Promise<Section> {
  const title = `Run with ${options.config}`;
  try {
    const config = await readConfig(options, launch);
    const read = { subject: "settings", outcome: { detail: "valid" } };
    const required = requirementFindings([read, ...await probeRequirements(config)]);
    return { title, findings: [...required, ...await lambdaNotes(config)] };
  } catch (error) {
    const failure = messageOf(error);
    const remedy = "correct the settings as said above; docs/config.md explains every key";
    return { title, findings: requirementFindings([{ subject: "settings", outcome: { failure, remedy } }]) };
  }
}

interface DoctorOptions extends ConfigOptions, LaunchOptions {
  ranks?: number;
  model?: string;
  gpu?: string;
}

/** What is known of a model, or of a run on another machine's GPU; this machine is not looked at. */
async function elsewhere(options: DoctorOptions, launch: Launch): Promise<number> {
  const { model, gpu } = options;
  const sections: Section[] = [];
  if (model !== undefined) sections.push(await modelSection(model));
  if (gpu !== undefined) {
    const config = async () => {
      const settings = await readConfig(options, launch);
      return model === undefined ? settings : { ...settings, model_name: model };
    };
    sections.push(await plannedSection(config, gpu, launch.size));
  }
  const subject = [model, gpu && `training on ${gpu}`].filter((text) => text !== undefined).join(", ");
  print(sections, {
    ready: `Supported: ${subject}.`,
    notReady: `Not supported: ${subject}, because of what is marked "missing".`,
  });
  return exitCodeOf(sections);
}

function print(sections: readonly Section[], verdict: { ready: string; notReady: string }): void {
  const { write, columns } = standardOutput();
  write(`${formatDiagnosis(sections, verdict, columns)}\n`);
}

/**
 * `doctor`: prints the diagnosis; returns 0 when training with the config can start, else 1. With --model or --gpu it
 * is about these instead of this machine.
 */
export async function doctorCommand(args: string[]): Promise<number> {
  const command = withLaunchOptions(configCommand(
    "doctor",
    "Say what this machine has and what training with the config lacks.",
  ))
    .option("--model <name>", "say what is supported of a model: a folder, its config.json, or a hub id")
    .option("--gpu <name>", "plan the run's memory for another GPU: h100, a100-40, 4090, m3-64, or free GiB")
    .option(
      "--ranks <number>",
      "say which GPU each of so many ranks would take here",
      wholeNumber("--ranks"),
    );
  const options = parseArguments(command, args).opts<DoctorOptions>();
  const given = await readLaunch(options);
  const launch = { ...given, size: options.ranks ?? given.size };
  if (options.dryRun && isDryRun(options, await readConfig(options, launch))) return 0;
  if (options.model !== undefined || options.gpu !== undefined) return await elsewhere(options, launch);
  const drivers = probeDrivers(process.env);
  const gpu = await probeGpu();
  const kernels = gpu instanceof Error ? [] : await kernelFindings(gpu);
  const sections: Section[] = [
    { title: "Machine", findings: machineFindings(await probeMachine()) },
    { title: "Vulkan drivers", findings: driverFindings(drivers) },
    { title: "GPU", findings: [...gpuFindings(gpu, drivers), ...kernels] },
    ...options.ranks !== undefined || launch.size > 1 ? [await ranksSection(launch.size, launch)] : [],
    await configSection(options, launch),
    await memorySection(() => readConfig(options, launch), launch.size),
  ];
  const verdict = {
    ready: `Ready: training with ${options.config} can start.`,
    notReady:
      `Not ready: training with ${options.config} cannot start until what is marked "missing" is there.`,
  };
  print(sections, verdict);
  return exitCodeOf(sections);
}
