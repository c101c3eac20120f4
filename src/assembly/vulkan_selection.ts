/**
 * Shows this process one Vulkan device alone. WebGPU cannot be told which of two equal cards to take, so Vulkan is: by
 * Mesa's device-select layer where it is installed, which goes by PCI addresses, else by a small layer of our own,
 * which is compiled into the user's cache. Both read the environment when an instance is made, so this comes first.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type VulkanDevice, vulkanDevices } from "../gpu/vulkan_devices.ts";
import { makeFolders } from "../io/files/atomic_files.ts";
import { ownCache } from "../io/files/own_cache.ts";

type Environment = Record<string, string | undefined>;

const LAYER = "VK_LAYER_GRPO_WEBGPU_pick_device";
const SOURCE = fileURLToPath(new URL("../../scripts/vulkan_layer/pick_device.c", import.meta.url));
const COMPILERS = ["cc", "gcc", "clang"];
const COMPILE_MS = 60_000;
/** Turns Mesa's layer off, which puts a device of its own first. */
const WITHOUT_MESA = { NODEVICE_SELECT: "1" };

/** The devices in the loader's own order. */
export async function loaderDevices(): Promise<VulkanDevice[]> {
  return await under(WITHOUT_MESA, vulkanDevices);
}

/** Runs `body` with variables that are gone, or as before, after it. */
async function under<R>(variables: Readonly<Environment>, body: () => Promise<R>): Promise<R> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  assign(variables);
  try {
    return await body();
  } finally {
    assign(Object.fromEntries(before));
  }
}

function assign(variables: Readonly<Environment>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/**
 * Hides all other devices from what this process opens from now on, and from its children.
 * @param all of the loader, in its order
 * @throws Error when nothing here can hide them; it says what would
 */
export async function showOnly(
  wanted: VulkanDevice,
  all: readonly VulkanDevice[],
): Promise<void> {
  if (all.length === 1) return;
  const ways: (() => Environment | Promise<Environment>)[] = [
    ...wanted.pci !== null && hasMesaLayer(process.env) ? [() => mesaVariables(wanted.pci!)] : [],
    () => layerVariables(wanted.index),
  ];
  const failures: string[] = [];
  for (const way of ways) {
    try {
      const variables = await way();
      const seen = await under(variables, vulkanDevices);
      if (seen.length === 1 && seen[0].uuid === wanted.uuid) return assign(variables);
      failures.push(`with ${Object.keys(variables).join(", ")} ${seen.length} devices are seen`);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(
    `Cannot take the GPU ${wanted.name}${
      wanted.pci === null ? "" : ` at ${wanted.pci}`
    } among ${all.length}: ` +
      `${
        failures.join("; ")
      }. Let each rank see one GPU (SLURM: --gpus-per-task=1 with ConstrainDevices), or install a ` +
      "C compiler (gcc)",
  );
}

/** @param pci "0000:01:00.0" */
export function mesaVariables(pci: string): Environment {
  return {
    DRI_PRIME: `pci-${pci.replaceAll(/[:.]/g, "_")}`,
    MESA_VK_DEVICE_SELECT_FORCE_DEFAULT_DEVICE: "1",
  };
}

function hasMesaLayer({ NODEVICE_SELECT }: Environment): boolean {
  if (NODEVICE_SELECT) return false;
  return ["/usr/share", "/usr/local/share", "/etc"].map((base) => join(base, "vulkan/implicit_layer.d"))
    .some((folder) => existsSync(folder) && readdirSync(folder).some((name) => /device_select/.test(name)));
}

async function layerVariables(index: number): Promise<Environment> {
  const manifest = await builtLayer();
  const { VK_INSTANCE_LAYERS: layers, VK_LAYER_PATH: path } = process.env;
  return {
    ...WITHOUT_MESA,
    VK_INSTANCE_LAYERS: layers ? `${layers}${delimiter}${LAYER}` : LAYER,
    VK_LAYER_PATH: path ? `${path}${delimiter}${dirname(manifest)}` : dirname(manifest),
    GRPO_WEBGPU_VULKAN_DEVICE: String(index),
  };
}

/**
 * The layer's manifest, beside its library; both made where they are missing. Ranks may do so at the same time: files
 * are renamed into place, and all make the same.
 */
async function builtLayer(): Promise<string> {
  const source = readFileSync(SOURCE);
  const key = createHash("sha256").update(source).update(process.arch).digest("hex").slice(0, 12);
  const folder = join(ownCache(process.env), "vulkan_layer");
  const name = `libpick_device-${key}.so`;
  const manifest = join(folder, `pick_device-${key}.json`);
  if (existsSync(manifest) && existsSync(join(folder, name))) return manifest;
  await makeFolders(folder);
  const own = `.${process.pid}`;
  await compile(join(folder, name + own));
  renameSync(join(folder, name + own), join(folder, name));
  const description = "Shows one device, for grpo-webgpu";
  const layer = {
    name: LAYER,
    type: "GLOBAL",
    library_path: `./${name}`,
    api_version: "1.3.0",
    implementation_version: "1",
    description,
  };
  writeFileSync(manifest + own, `${JSON.stringify({ file_format_version: "1.1.2", layer }, null, 2)}\n`);
  renameSync(manifest + own, manifest);
  return manifest;
}

async function compile(output: string): Promise<void> {
  const args = ["-shared", "-fPIC", "-O2", "-o", output, SOURCE];
  for (const compiler of COMPILERS) {
    try {
      await promisify(execFile)(compiler, args, { timeout: COMPILE_MS });
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code === "ENOENT") continue;
      throw new Error(`${compiler} could not build the layer: ${(error as Error).message.trim()}`);
    }
  }
  throw new Error(`no C compiler to build the layer with (${COMPILERS.join(", ")})`);
}
