/** Which of a machine's GPUs a rank takes. Pure: what is there and what is asked for in, a device out. */
import type { VulkanDevice } from "../gpu/vulkan_devices.ts";

export interface DeviceWish {
  /** Among the ranks of this machine, from 0. */
  localRank: number;
  /** Numbers of GPUs, as `--gpu_ids` has them; null where the user names none. */
  gpuIds: readonly number[] | null;
  /** The CPU plays the GPU. */
  useCpu: boolean;
  /** CUDA_VISIBLE_DEVICES, which SLURM sets too and Vulkan does not know. */
  visible: string | undefined;
}

/** A GPU as `nvidia-smi` lists it, in the order that CUDA's numbers count in a cluster. */
export interface NvidiaGpu {
  /** 32 hexadecimal digits. */
  uuid: string;
  /** "0000:01:00.0" */
  pci: string;
}

/** Reads `nvidia-smi --query-gpu=uuid,pci.bus_id --format=csv,noheader`. */
export function nvidiaGpus(text: string): NvidiaGpu[] {
  return text.split("\n").flatMap((line) => {
    const [, uuid, domain, rest] = /^GPU-([\da-f-]{36}), *([\da-f]{8}):([\da-f:.]+)\s*$/i.exec(line) ?? [];
    if (uuid === undefined) return [];
    return [{ uuid: plainUuid(uuid), pci: `${domain.slice(4)}:${rest}`.toLowerCase() }];
  });
}

const plainUuid = (text: string) => text.replace(/^GPU-/i, "").replaceAll("-", "").toLowerCase();

/**
 * The devices that ranks of this machine share out, in the order in which they take them.
 * @throws Error when none is left, or one that is asked for is not there; it lists those that are
 */
export function candidates(
  devices: readonly VulkanDevice[],
  { gpuIds, useCpu, visible }: Omit<DeviceWish, "localRank">,
  nvidia: readonly NvidiaGpu[],
): VulkanDevice[] {
  const software = devices.filter(({ isSoftware }) => isSoftware);
  // A card may be offered twice, by two drivers' files.
  const hardware = devices.filter(({ isSoftware, uuid }, i) =>
    !isSoftware && devices.findIndex((other) => other.uuid === uuid) === i
  ).sort((a, b) => (a.pci ?? "").localeCompare(b.pci ?? ""));
  if (useCpu || (hardware.length === 0 && gpuIds === null)) {
    if (software.length > 0) return software;
    throw new Error(
      `Cannot compute on the CPU (use_cpu): required a software Vulkan, found ${listed(devices)}; install ` +
        "mesa-vulkan-drivers",
    );
  }
  const [name, ids] = gpuIds !== null
    ? ["gpu_ids", gpuIds.map(String)] as const
    : ["CUDA_VISIBLE_DEVICES", idsOf(visible)] as const;
  if (ids === null) return hardware;
  // A cluster that shows a task its own GPU alone may still number it as the machine does.
  if (gpuIds === null && hardware.length === 1 && ids.length > 0) return hardware;
  if (ids.length === 0) {
    throw new Error(`CUDA_VISIBLE_DEVICES="${visible}" hides every GPU, found ${listed(hardware)}; unset it`);
  }
  return ids.map((id) => {
    const device = deviceOf(id, hardware, nvidia);
    if (device) return device;
    throw new Error(`${name} asks for GPU ${id}, found ${listed(hardware)}; name those that are there`);
  });
}

/** The one that a rank takes: where there are more ranks than devices, several take the same. */
export function chosenOf(among: readonly VulkanDevice[], localRank: number): VulkanDevice {
  return among[localRank % among.length];
}

function deviceOf(
  id: string,
  hardware: readonly VulkanDevice[],
  nvidia: readonly NvidiaGpu[],
): VulkanDevice | undefined {
  if (!/^\d+$/.test(id)) return hardware.find(({ uuid }) => uuid.startsWith(plainUuid(id)));
  if (nvidia.length === 0) return hardware[Number(id)];
  const gpu = nvidia[Number(id)];
  return gpu && hardware.find(({ uuid, pci }) => uuid === gpu.uuid || pci === gpu.pci);
}

/** null where nothing is said. As for CUDA, what stands behind a number that is none does not count. */
function idsOf(visible: string | undefined): string[] | null {
  if (visible === undefined) return null;
  const ids = visible.split(",").map((id) => id.trim());
  const end = ids.findIndex((id) => !/^(\d+|GPU-[\da-f-]+)$/i.test(id));
  return end < 0 ? ids : ids.slice(0, end);
}

function listed(devices: readonly VulkanDevice[]): string {
  if (devices.length === 0) return "none";
  return devices.map(({ name, pci }, i) => `${i}: ${name}${pci === null ? "" : ` at ${pci}`}`).join(", ");
}
