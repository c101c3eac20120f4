/** The `doctor` command: what this machine has, what a run lacks, and what to do about it. Installs nothing. */
import { type GpuInfo, openGpu } from "../gpu/device.ts";
import {
  driverFindings,
  exitCodeOf,
  formatDiagnosis,
  gpuFindings,
  machineFindings,
  requirementFindings,
  type Section,
} from "./diagnosis.ts";
import { probeDrivers, probeMachine } from "./machine_probe.ts";
import { configCommand, type ConfigOptions, readConfig } from "./options.ts";
import { probeRequirements } from "./requirements.ts";

/** The opened device's description, or why none opens: a machine without a GPU is a finding here, not a failure. */
async function probeGpu(): Promise<GpuInfo | Error> {
  try {
    return (await openGpu()).info;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
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
  )
    .parse(args, { from: "user" });
  const options = command.opts<ConfigOptions>();
  const drivers = probeDrivers(process.env);
  const sections: Section[] = [
    { title: "Machine", findings: machineFindings(await probeMachine()) },
    { title: "Vulkan drivers", findings: driverFindings(drivers) },
    { title: "GPU", findings: gpuFindings(await probeGpu(), drivers) },
    await configSection(options),
  ];
  const verdict = {
    ready: `Ready: training with ${options.config} can start.`,
    notReady:
      `Not ready: training with ${options.config} cannot start until what is marked "missing" is there.`,
  };
  process.stdout.write(`${formatDiagnosis(sections, verdict)}\n`);
  return exitCodeOf(sections);
}
