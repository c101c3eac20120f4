/** Looks at the machine for `doctor`: runtime, processor, Vulkan drivers. Changes nothing. */
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import * as os from "node:os";
import { delimiter, join } from "node:path";
import { detectRuntime, runtimeVersion } from "../../gpu/device.ts";
import type { DriverFacts, MachineFacts } from "./diagnosis.ts";

const PACKAGE_FILE = new URL("../../../package.json", import.meta.url);

/** Both replace the Vulkan loader's folders; the second is the older name. */
const DRIVER_VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

export async function probeMachine(): Promise<MachineFacts> {
  const { version } = JSON.parse(await readFile(PACKAGE_FILE, "utf8")) as { version: string };
  return {
    programVersion: version,
    runtime: detectRuntime(),
    runtimeVersion: runtimeVersion(),
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    cpuModel: os.cpus()[0]?.model.trim() || "unnamed",
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    freeMemoryBytes: os.freemem(),
  };
}

/** @param environment variables of the process, such as process.env */
export function probeDrivers(environment: Record<string, string | undefined>): DriverFacts {
  const overrides = DRIVER_VARIABLES.flatMap((variable) => {
    const paths = (environment[variable] ?? "").split(delimiter).filter((path) => path !== "");
    const files = paths.map((path) => ({ path, exists: existsSync(path) }));
    return files.length > 0 ? [{ variable, files }] : [];
  });
  return {
    platform: process.platform,
    manifests: manifestFolders(environment).flatMap(manifestsIn),
    overrides,
    hasNvidiaDevice: existsSync("/dev/nvidiactl"),
  };
}

/** Where the Vulkan loader looks on Linux, most important first. */
function manifestFolders(environment: Record<string, string | undefined>): string[] {
  const home = environment.XDG_DATA_HOME ??
    (environment.HOME ? join(environment.HOME, ".local/share") : undefined);
  const bases = ["/usr/local/etc", "/etc", ...(home ? [home] : []), "/usr/local/share", "/usr/share"];
  return bases.map((base) => join(base, "vulkan/icd.d"));
}

function manifestsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => name.endsWith(".json")).sort().map((name) =>
    join(folder, name)
  );
}
