// Many clusters install NVIDIA's libraries without the file that tells the Vulkan loader of them: without it a run
// would go on the CPU. It is written into the user's cache then, and named to the loader.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** NVIDIA's Vulkan driver: the first as the driver's own file names it, the second where there is no X. */
const LIBRARIES = ["libGLX_nvidia.so.0", "libEGL_nvidia.so.0"];
const MACHINE = process.arch === "arm64" ? "aarch64" : "x86_64";

/**
 * @typedef {object} Places where to look, for tests
 * @property {string[]} libraries folders of libraries
 * @property {string[]} manifests folders of the loader's files
 * @property {string} device that is there where a kernel module of NVIDIA is
 */

/** @type {Places} */
const PLACES = {
  libraries: [
    `/usr/lib/${MACHINE}-linux-gnu`,
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    ...(process.env.LD_LIBRARY_PATH ?? "").split(":").filter((folder) => folder !== ""),
  ],
  manifests: ["/usr/local/etc", "/etc", "/usr/local/share", "/usr/share"].map((base) =>
    `${base}/vulkan/icd.d`
  ),
  device: "/dev/nvidiactl",
};

/**
 * Names NVIDIA's driver to the loader where nobody else does, and the user has not chosen drivers.
 * @param {Record<string, string | undefined>} env is given VK_DRIVER_FILES
 * @param {Places} [places]
 * @returns {string | undefined} the file, where one was needed
 */
export function nameNvidiaDriver(env, places = PLACES) {
  if (env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES || !existsSync(places.device)) return undefined;
  const library = LIBRARIES.flatMap((name) =>
    places.libraries.map((folder) => ({ name, path: join(folder, name) }))
  )
    .find(({ path }) => existsSync(path));
  if (!library || places.manifests.some(namesNvidia)) return undefined;
  const folder = join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "grpo-webgpu");
  const file = join(folder, "nvidia_icd.json");
  const ICD = { library_path: library.path, api_version: "1.3.0" };
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, `${JSON.stringify({ file_format_version: "1.0.1", ICD }, null, 2)}\n`);
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    console.error(`Vulkan is not told of ${library.path}, as '${file}' cannot be written: ${why}`);
    return undefined;
  }
  env.VK_DRIVER_FILES = file;
  return file;
}

/** @param {string} folder of the loader's files */
function namesNvidia(folder) {
  if (!existsSync(folder)) return false;
  return readdirSync(folder).filter((name) => name.endsWith(".json"))
    .some((name) => /nvidia/i.test(name) || /nvidia/i.test(readFileSync(join(folder, name), "utf8")));
}
