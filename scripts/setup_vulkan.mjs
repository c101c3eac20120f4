// Makes sure that a GPU adapter answers: installs Mesa's software Vulkan (lavapipe) on Linux where none does.
// As a program, run by root: installs it.      As a module: ensureAdapter() checks first.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { backportsSource } from "./apt_sources.mjs";
import { mayUseRoot, YES_OPTION } from "./root.mjs";
import { readCommand, runCommand } from "./run_command.mjs";

const PACKAGE = "mesa-vulkan-drivers";
// Mesa 22.3 lacks features that Dawn requires (shaderUniform*ArrayDynamicIndexing); 23.2, 25.0 have them.
const MIN_MESA = 23.2;
const PROGRAM = fileURLToPath(import.meta.url);
const PROBE = fileURLToPath(new URL("./adapter_probe.mjs", import.meta.url));
const APT_OPTIONS = ["-y", "-o", "DPkg::Lock::Timeout=300"];
const APT_MS = 20 * 60_000;
const SOURCES = "/etc/apt/sources.list.d";
/** A sudo that asks a server or a person first would keep its caller waiting. */
const SUDO_MS = 5000;
/** Read by apt. They may hold a password, which stands on no command line, where every user could read it. */
const PROXY_VARIABLES = ["http_proxy", "https_proxy", "no_proxy"];
/** The program is then given the proxies on its standard input. */
const READ_PROXIES = "--proxies-on-stdin";
const DRIVER_VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/**
 * Returns once a WebGPU adapter answers. macOS (Metal) and Windows (Direct3D 12) bring theirs.
 * An answer is remembered in .setup/ until the machine's drivers change, so that later starts do not ask again.
 * @param {string} root the checkout
 * @throws {Error} with the one command to run, when a driver is needed and this user may not install it
 */
export async function ensureAdapter(root) {
  if (process.platform !== "linux") return;
  const record = join(root, ".setup", `adapter-${driverFingerprint()}`);
  if (existsSync(record)) return;
  let found = await probeAdapter();
  if (!found.name) {
    await installAsRoot(found.complaint);
    found = await probeAdapter();
    if (!found.name) {
      throw new Error(`Software Vulkan is installed, but no GPU adapter answers:\n${found.complaint}`);
    }
    console.error(`GPU adapter: ${found.name}`);
    if (existsSync("/dev/nvidiactl")) console.error(nvidiaHint());
  }
  // Drivers installed just now have changed the fingerprint: the record belongs to what is there after it.
  remember(join(root, ".setup"), `adapter-${driverFingerprint()}`, found.name);
}

/**
 * @param {string} folder
 * @param {string} file
 * @param {string} adapter
 */
function remember(folder, file, adapter) {
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, file), `${adapter}\n`);
  } catch (error) {
    // In a checkout that cannot be written (a read-only image) every start asks again, which only costs time.
    const code = /** @type {NodeJS.ErrnoException} */ (error).code ?? "";
    if (!["EROFS", "EACCES", "EPERM"].includes(code)) throw error;
  }
}

/** @returns {Promise<{ name: string, complaint: string }>} name "" when none answers */
async function probeAdapter() {
  const args = "Deno" in globalThis ? ["run", "-A", "--unstable-webgpu", PROBE] : [PROBE];
  const { code, stdout, stderr } = await readCommand(process.execPath, args);
  return { name: code === 0 ? stdout.trim() : "", complaint: stderr.trim() };
}

/** What an answer depends on: runtime, machine, loader, driver manifests, device files. */
function driverFingerprint() {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([process.versions.deno ?? process.version, hostname()]));
  for (const name of DRIVER_VARIABLES) hash.update(`${name}=${process.env[name] ?? ""}\n`);
  const libraries = [
    "/usr/lib",
    "/usr/lib64",
    `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  ];
  const manifests = ["/etc", "/usr/share", "/usr/local/share"].map((folder) => `${folder}/vulkan/icd.d`);
  for (const path of libraries.map((folder) => `${folder}/libvulkan.so.1`)) {
    hash.update(`${path} ${changedMs(path)}\n`);
  }
  for (const folder of manifests.filter((folder) => existsSync(folder))) {
    for (const name of readdirSync(folder).sort()) {
      hash.update(`${folder}/${name} ${changedMs(join(folder, name))}\n`);
    }
  }
  const devices = ["/dev/dri", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"].filter((path) => existsSync(path));
  return hash.update(devices.join(" ")).digest("hex").slice(0, 16);
}

/** @param {string} path */
function changedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * Installs as the present user where that is root, else through sudo where it asks for no password.
 * @param {string} complaint what the probe said
 */
async function installAsRoot(complaint) {
  const hidden = DRIVER_VARIABLES.filter((name) => process.env[name]);
  if (hidden.length > 0) {
    const settings = hidden.map((name) => `${name}="${process.env[name]}"`).join(", ");
    throw new Error(
      `No GPU adapter answers with ${settings}; unset it, so that the system's drivers are seen`,
    );
  }
  if (!existsSync("/usr/bin/apt-get")) {
    throw new Error(`No GPU adapter answers. ${otherSystemHint()}\n${complaint}`);
  }
  if (process.getuid?.() === 0) return await installDriver();
  const program = "Deno" in globalThis
    ? [process.execPath, "run", "-A", PROGRAM]
    : [process.execPath, PROGRAM];
  const mayUseSudo = (await readCommand("sudo", ["-n", "true"], { timeoutMs: SUDO_MS })).code === 0;
  if (!mayUseSudo) {
    throw new Error(
      `No GPU adapter answers, and installing software Vulkan needs root. Run this once, then start again:\n\n` +
        `  sudo ${program.join(" ")}\n`,
    );
  }
  console.error(`No GPU adapter answers. With sudo, as root, this is to be run:\n${rootCommands()}`);
  if (!await mayUseRoot(process.env, process.stdin.isTTY === true && process.stderr.isTTY === true)) {
    throw new Error(
      `Software Vulkan was not installed. Say yes, start with ${YES_OPTION} (or GRPO_WEBGPU_YES=1), or run this once:` +
        `\n\n  sudo ${program.join(" ")}\n`,
    );
  }
  const proxies = Object.fromEntries(PROXY_VARIABLES.map((name) => [name, process.env[name]]));
  const code = await runCommand("sudo", ["-n", ...program, READ_PROXIES], { input: JSON.stringify(proxies) });
  if (code !== 0) {
    throw new Error(`Cannot install software Vulkan through sudo: exit code ${code}; see the lines above`);
  }
}

/** What installDriver() runs, for whoever is to agree to it. */
const rootCommands = () =>
  [
    "apt-get update",
    `apt-get install -y --no-install-recommends ${PACKAGE}`,
    `(where the release's own Mesa is older than ${MIN_MESA}, its backports are added to ${SOURCES} first)`,
  ].map((line) => `  ${line}\n`).join("");

/**
 * Installs the package, from the release's backports where the release itself is too old (Debian 12).
 * @throws {Error} when apt fails or offers no version that is new enough
 */
async function installDriver() {
  console.error(
    `No GPU adapter answers: installing software Vulkan (package ${PACKAGE}, once, about a minute). As root:\n` +
      rootCommands(),
  );
  const startMs = performance.now();
  // A source of something else may be broken; whether ours is, the installation shows.
  await apt(["update", "-qq"]);
  const release = readRelease();
  const offered = await offeredMesa();
  let target = /** @type {string[]} */ ([]);
  if (offered < MIN_MESA) {
    if (release.id !== "debian") {
      throw new Error(
        `Cannot install software Vulkan: ${release.name} offers Mesa ${offered}. ${otherSystemHint()}`,
      );
    }
    await addBackports(release.codename);
    target = ["-t", `${release.codename}-backports`];
  }
  const code = await apt(["install", "-qq", "--no-install-recommends", ...target, PACKAGE]);
  if (code !== 0) {
    throw new Error(
      `Cannot install software Vulkan: apt-get exited with ${code}; see its lines above. ${otherSystemHint()}`,
    );
  }
  console.error(`Software Vulkan installed in ${((performance.now() - startMs) / 1000).toFixed(1)} s.`);
}

/**
 * Runs apt-get without questions. It says much: what it said is shown only when it fails.
 * @param {string[]} args
 */
export async function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { code, stdout, stderr } = await readCommand("apt-get", [...APT_OPTIONS, ...args], {
    timeoutMs: APT_MS,
    env,
  });
  if (code !== 0) console.error(`${stdout}${stderr}`.trim());
  return code;
}

/** Mesa's version that apt would install, as major.minor; 0 when it knows none. */
async function offeredMesa() {
  const { stdout } = await readCommand("apt-cache", ["policy", PACKAGE], {
    env: { ...process.env, LC_ALL: "C" },
  });
  return Number(stdout.match(/Candidate: (?:\d+:)?(\d+\.\d+)/)?.[1] ?? 0);
}

/** The machine's system, of /etc/os-release. */
export function readRelease() {
  const text = readFileSync("/etc/os-release", "utf8");
  const value = (/** @type {string} */ key) => text.match(new RegExp(`^${key}="?([^"\n]*)`, "m"))?.[1] ?? "";
  return { id: value("ID"), codename: value("VERSION_CODENAME"), name: value("PRETTY_NAME") };
}

/**
 * Every file in which this machine names its sources of packages.
 * @returns {import("./apt_sources.mjs").SourceFile[]}
 */
export function machineSources() {
  const names = existsSync(SOURCES) ? readdirSync(SOURCES).map((name) => join(SOURCES, name)) : [];
  const files = ["/etc/apt/sources.list", ...names].filter((path) => existsSync(path)).flatMap((path) => {
    const extension = path.split(".").pop();
    return extension === "list" || extension === "sources"
      ? [{ extension, text: readFileSync(path, "utf8") }]
      : [];
  });
  return /** @type {import("./apt_sources.mjs").SourceFile[]} */ (files);
}

/**
 * @param {string} codename
 * @throws {Error} when the machine names no source of its release
 */
async function addBackports(codename) {
  const source = backportsSource(machineSources(), codename);
  if (source === "present") return;
  if (!source) {
    throw new Error(`Cannot find the apt source of "${codename}" in /etc/apt. ${otherSystemHint()}`);
  }
  const path = join(SOURCES, `grpo-webgpu-backports.${source.extension}`);
  writeFileSync(path, source.text);
  console.error(`${codename} itself carries a Mesa that is too old: added ${path}`);
  await apt(["update", "-qq"]);
}

function otherSystemHint() {
  return `Install a Vulkan driver: the GPU's own, or Mesa's lavapipe ${MIN_MESA} or newer ` +
    `(${PACKAGE} on Debian and Ubuntu, mesa-vulkan-drivers on Fedora, vulkan-swrast on Arch, ` +
    `mesa-vulkan-swrast on Alpine)`;
}

function nvidiaHint() {
  const version = existsSync("/proc/driver/nvidia/version")
    ? readFileSync("/proc/driver/nvidia/version", "utf8")
    : "";
  const major = version.match(/Kernel Module\D*?(\d+)\./)?.[1] ?? "<driver version>";
  return `Note: this machine has an NVIDIA GPU. If the adapter above is not that GPU, its Vulkan driver is missing: ` +
    `install libnvidia-gl-${major}, or start the container with NVIDIA_DRIVER_CAPABILITIES=all`;
}

if (process.argv[1] === PROGRAM) {
  try {
    if (process.argv.includes(READ_PROXIES)) {
      const proxies = JSON.parse(readFileSync(0, "utf8"));
      for (const name of PROXY_VARIABLES) if (proxies[name]) process.env[name] = proxies[name];
    }
    await installDriver();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
