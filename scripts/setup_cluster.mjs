// Readies what the tests of ranks and of SLURM need: Debian's MPI libraries, its SLURM and a C compiler.
import { existsSync } from "node:fs";
import process from "node:process";
import { readCommand } from "./run_command.mjs";
import { apt } from "./setup_vulkan.mjs";

/** Debian's and Ubuntu's names. */
const PACKAGES = [
  "openmpi-bin",
  "libopenmpi-dev",
  "mpich",
  "slurmctld",
  "slurmd",
  "slurm-client",
  "munge",
  "gcc",
  "libc6-dev",
];

/**
 * Returns once the packages are installed.
 * @throws {Error} with the one command to run, when some are missing and this user may not install them
 */
export async function ensureClusterPackages() {
  if (process.platform !== "linux" || !existsSync("/usr/bin/apt-get")) {
    throw new Error("The cluster's tests need Debian's or Ubuntu's packages, and this system has no apt-get");
  }
  const missing = await missingPackages();
  if (missing.length === 0) return;
  const install = ["install", "-y", "--no-install-recommends", ...missing];
  if (process.getuid?.() !== 0) {
    throw new Error(
      `The cluster's tests need packages that are missing, and installing them needs root. Run this once, ` +
        `then start again:\n\n  sudo apt-get ${install.join(" ")}\n`,
    );
  }
  console.error(
    `Installing what the cluster's tests need (once, about a minute). As root:\n  apt-get update\n  apt-get ${
      install.join(" ")
    }`,
  );
  // A source of something else may be broken; whether ours is, the installation shows.
  await apt(["update", "-qq"]);
  const code = await apt(install);
  if (code !== 0) {
    throw new Error(`Cannot install ${missing.join(", ")}: apt-get exited with ${code}; see its lines above`);
  }
}

/** Those of the packages that dpkg does not know as installed. */
async function missingPackages() {
  const query = ["-W", "-f", "${Package} ${db:Status-Status}\\n", ...PACKAGES];
  const { stdout } = await readCommand("dpkg-query", query, { env: process.env });
  const installed = new Set(
    stdout.split("\n").filter((line) => line.endsWith(" installed")).map((line) => line.split(" ")[0]),
  );
  return PACKAGES.filter((name) => !installed.has(name));
}
