/**
 * Each rank's own GPU: taken before WebGPU is opened, and held against those of the other ranks after it. Two ranks on
 * one card would be slow, or end out of memory hours later; Vulkan does not know what CUDA_VISIBLE_DEVICES hides.
 */
import { execFile } from "node:child_process";
import { hostname } from "node:os";
import { promisify } from "node:util";
import type { VulkanDevice } from "../gpu/vulkan_devices.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherTexts } from "../parallel/gather.ts";
import { candidates, chosenOf, type DeviceWish, nvidiaGpus } from "./device_choice.ts";
import { loaderDevices, showOnly } from "./vulkan_selection.ts";

const NVIDIA_SMI_MS = 20_000;

/**
 * The devices that ranks of this machine share out, and all that the loader has.
 * @throws Error when none fits what is asked for
 */
export async function devicesToShare(
  wish: Omit<DeviceWish, "localRank">,
): Promise<{ all: VulkanDevice[]; among: VulkanDevice[] }> {
  const all = await loaderDevices();
  const isNumbered = wish.gpuIds !== null || wish.visible !== undefined;
  return { all, among: candidates(all, wish, isNumbered ? await askNvidia() : []) };
}

/** Empty where there is no such program, or no such card. */
async function askNvidia() {
  const query = ["--query-gpu=uuid,pci.bus_id", "--format=csv,noheader"];
  // It leaves out what the variable hides from CUDA in no case; asked plainly all the same.
  const { CUDA_VISIBLE_DEVICES: _hidden, ...env } = process.env;
  try {
    return nvidiaGpus(
      (await promisify(execFile)("nvidia-smi", query, { timeout: NVIDIA_SMI_MS, env })).stdout,
    );
  } catch {
    return [];
  }
}

/**
 * Chooses this rank's device and hides the others from this process. Before WebGPU is opened.
 * @returns undefined on systems without Vulkan, whose one GPU needs no choice
 * @throws Error when none fits, or it cannot be taken alone
 */
export async function takeDevice(wish: DeviceWish): Promise<VulkanDevice | undefined> {
  if (process.platform !== "linux") return undefined;
  const { all, among } = await devicesToShare(wish);
  const device = chosenOf(among, wish.localRank);
  await showOnly(device, all);
  return device;
}

/**
 * Every rank says which device it has.
 * @returns what to tell the user of ranks that share a CPU; null where each has a GPU of its own
 * @throws Error when ranks share a GPU, alike on every rank
 */
export async function assertOwnDevices(
  communicator: Communicator,
  device: VulkanDevice | undefined,
): Promise<string | null> {
  const own = [hostname(), device?.uuid ?? "", device?.name ?? "", device?.isSoftware ? "software" : ""];
  const texts = await gatherTexts(communicator, [JSON.stringify(own)]);
  const ranks = texts.map((text, rank) => {
    const [host, uuid, name, kind] = JSON.parse(text) as string[];
    return { rank, host, uuid, name, isSoftware: kind !== "" };
  });
  for (const [i, one] of ranks.entries()) {
    const sharing = ranks.slice(i).filter(({ host, uuid }) => host === one.host && uuid === one.uuid);
    if (sharing.length === 1 || one.isSoftware || one.uuid === "") continue;
    throw new Error(
      `Ranks ${
        sharing.map(({ rank }) => rank).join(", ")
      } share one GPU, ${one.name} (UUID ${one.uuid}) of ` +
        `${one.host}; required one for each rank. Start as many ranks on a machine as it has GPUs, or give each its ` +
        'own (SLURM: --gpus-per-task=1); the command "doctor -- --ranks N" shows who takes which',
    );
  }
  const software = ranks.filter(({ isSoftware }) => isSoftware).length;
  return software === 0 || communicator.size === 1
    ? null
    : `${software} of ${communicator.size} ranks compute on their machine's CPU, which they share`;
}
