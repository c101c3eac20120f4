/** Which GPU each rank of this machine would take, for `doctor --ranks`. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { chosenOf } from "../../assembly/device_choice.ts";
import { devicesToShare } from "../../assembly/devices.ts";
import { formatBytes } from "../../config/units.ts";
import type { VulkanDevice } from "../../gpu/vulkan_devices.ts";
import { messageOf } from "../../io/files/errors.ts";
import type { Launch } from "../launch_options.ts";
import type { Finding, Section } from "./diagnosis.ts";

const VERSION_MS = 30_000;

/** @param size ranks on this machine */
export async function ranksSection(
  size: number,
  { gpuIds, useCpu }: Pick<Launch, "gpuIds" | "useCpu">,
): Promise<Section> {
  const title = `${size} ranks on this machine`;
  return { title, findings: [await mpirunFinding(), ...await deviceFindings(size, { gpuIds, useCpu })] };
}

async function mpirunFinding(): Promise<Finding> {
  const subject = "mpirun";
  try {
    const { stdout } = await promisify(execFile)("mpirun", ["--version"], { timeout: VERSION_MS });
    return { mark: "ok", subject, detail: stdout.split("\n")[0] };
  } catch {
    const remedy =
      "apt-get install openmpi-bin, or module load openmpi; not needed where srun starts the ranks";
    return { mark: "note", subject, detail: "none in PATH", remedy };
  }
}

async function deviceFindings(
  size: number,
  wish: Pick<Launch, "gpuIds" | "useCpu">,
): Promise<Finding[]> {
  if (process.platform !== "linux") {
    return [{
      mark: "note",
      subject: "GPUs",
      detail: "this system's GPU interface offers no choice: ranks share it",
    }];
  }
  try {
    const { among } = await devicesToShare({ ...wish, visible: process.env.CUDA_VISIBLE_DEVICES });
    const findings = Array.from({ length: size }, (_, rank): Finding => {
      const device = chosenOf(among, rank);
      const subject = `rank ${rank}`;
      if (rank < among.length || device.isSoftware) {
        return { mark: "ok", subject, detail: deviceText(device) };
      }
      const taken = `its GPU would be that of rank ${rank % among.length}, ${device.name}`;
      const remedy = `start ${among.length} ranks on this machine, or name more GPUs by --gpu_ids`;
      return { mark: "missing", subject, detail: taken, remedy };
    });
    const isShared = among.length < size && among[0].isSoftware;
    return isShared
      ? [...findings, { mark: "note", subject: "CPU", detail: "the ranks share it" }]
      : findings;
  } catch (error) {
    const remedy = "as said above; the section of Vulkan drivers lists what the loader finds";
    return [{ mark: "missing", subject: "GPUs", detail: messageOf(error), remedy }];
  }
}

function deviceText({ name, pci, uuid, memoryBytes, isSoftware }: VulkanDevice): string {
  const place = pci === null ? "" : `, PCI ${pci}`;
  return `${name}${place}, UUID ${uuid}, ${formatBytes(memoryBytes)}${isSoftware ? ", software" : ""}`;
}
