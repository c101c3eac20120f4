// A newer software Vulkan beside the system's, for tests: Mesa whose lavapipe multiplies matrices, and SPIR-V's tools.
// Debian's packages of "testing" with all that they need, the C library included, are unpacked into the user's cache
// and started through their own loader; nothing is installed. Address and key are those of this machine's sources.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { suiteSource } from "./apt_sources.mjs";
import { readCommand } from "./run_command.mjs";
import { machineSources, readRelease } from "./setup_vulkan.mjs";

const SUITE = "testing";
const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1", "libstdc++6", "spirv-tools"];
const APT_MS = 5 * 60_000;
/** Without them apt waits for minutes where there is no network. */
const PATIENCE = { "Acquire::Retries": "1", "Acquire::http::Timeout": "20", "Acquire::https::Timeout": "20" };

/**
 * @typedef {object} NewerVulkan
 * @property {string} root where the packages lie
 * @property {(program: string, args: string[]) => { command: string, args: string[], env: Record<string, string> }}
 *   starting how a program is started on it, and what is added to its environment
 */

/**
 * Fetches it where the cache has none, about 70 MB in seconds; what is fetched stays.
 * @returns {Promise<NewerVulkan | { missing: string }>} missing: why this machine cannot have it
 */
export async function newerVulkan() {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "grpo-webgpu");
  const name = `vulkan-${SUITE}-${process.arch}`;
  const folder = join(cache, name);
  if (!existsSync(folder)) {
    const missing = unfit();
    if (missing) return { missing };
    mkdirSync(cache, { recursive: true });
    const fresh = mkdtempSync(join(cache, `${name}-`));
    try {
      const complaint = await unpackPackages(fresh);
      if (complaint) return { missing: complaint };
      // Of two that fetch at once, the first stays.
      if (!existsSync(folder)) renameSync(fresh, folder);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  }
  return unpacked(join(folder, "root"));
}

/** Why this machine cannot unpack Debian's packages; undefined when it can. */
function unfit() {
  if (process.platform !== "linux") return "Debian's packages run on Linux";
  const { id, name } = readRelease();
  if (id !== "debian") return `its sources must be Debian's, this is ${name || "no known system"}`;
  const programs = ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"];
  const absent = programs.filter((path) => !existsSync(path));
  return absent.length > 0 ? `${absent.join(", ")} not found` : undefined;
}

/**
 * Has apt fetch the packages in folders of its own, which know of nothing that is installed, and unpacks them.
 * @param {string} folder gets root/
 * @returns {Promise<string | undefined>} what failed
 */
async function unpackPackages(folder) {
  const { codename } = readRelease();
  const source = suiteSource(machineSources(), codename, SUITE);
  if (!source) return `no apt source of "${codename}" in /etc/apt`;
  const apt = join(folder, "apt");
  for (const part of ["state/lists/partial", "cache/archives/partial", "parts", "root"]) {
    mkdirSync(join(part === "root" ? folder : apt, part), { recursive: true });
  }
  const sources = join(apt, `suite.${source.extension}`);
  writeFileSync(sources, source.text);
  writeFileSync(join(apt, "status"), "");
  const settings = {
    "Dir::State": join(apt, "state"),
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": join(apt, "cache"),
    "Dir::Etc::sourcelist": sources,
    "Dir::Etc::sourceparts": join(apt, "parts"),
    // These folders are the user's: apt would fetch as a user of its own, who may not enter them.
    "APT::Sandbox::User": "root",
    ...PATIENCE,
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const install = ["install", "-qq", "-y", "--download-only", "--no-install-recommends", ...PACKAGES];
  for (const args of [["update", "-qq", "--error-on=any"], install]) {
    const { code, stdout, stderr } = await readCommand("apt-get", [...options, ...args], {
      timeoutMs: APT_MS,
    });
    if (code !== 0) return `apt-get ${args[0]} of "${SUITE}" failed: ${lastLine(`${stdout}\n${stderr}`)}`;
  }
  const archives = join(apt, "cache/archives");
  for (const file of readdirSync(archives).filter((name) => name.endsWith(".deb"))) {
    const { code, stderr } = await readCommand("dpkg-deb", [
      "-x",
      join(archives, file),
      join(folder, "root"),
    ]);
    if (code !== 0) return `${file} cannot be unpacked: ${lastLine(stderr)}`;
  }
  rmSync(apt, { recursive: true });
  return undefined;
}

/**
 * @param {string} root
 * @returns {NewerVulkan}
 */
function unpacked(root) {
  const find = (/** @type {string} */ folder, /** @type {RegExp} */ name) => {
    const found = readdirSync(join(root, folder)).find((each) => name.test(each));
    if (!found) {
      throw new Error(`No ${name} in ${join(root, folder)}; remove ${root}, and it is fetched again`);
    }
    return join(root, folder, found);
  };
  const libraries = find("usr/lib", /-linux-gnu$/);
  const loader = find(process.arch === "x64" ? "usr/lib64" : "usr/lib", /^ld-linux.*\.so/);
  const driver = find("usr/share/vulkan/icd.d", /^lvp_icd.*\.json$/);
  return {
    root,
    starting: (program, args) => ({
      command: loader,
      args: ["--library-path", libraries, program, ...args],
      env: { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver },
    }),
  };
}

/** @param {string} text */
function lastLine(text) {
  return text.trim().split("\n").at(-1) ?? "";
}
