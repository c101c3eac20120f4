// Readies what tests need of Debian: those of ranks and of SLURM its MPI libraries, SLURM and a C compiler, those of
// the report's page a browser.
import { existsSync } from "node:fs";
import process from "node:process";
import { readCommand } from "./run_command.mjs";
import { apt } from "./setup_vulkan.mjs";

/** Debian's and Ubuntu's names. */
const CLUSTER_PACKAGES = [
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

/** @throws {Error} as ensureDebianPackages */
export const ensureClusterPackages = () => ensureDebianPackages("The cluster's tests", CLUSTER_PACKAGES);

/**
 * Returns once the packages are installed.
 * @param {string} whose who needs them, at the beginning of a sentence
 * @param {readonly string[]} packages
 * @throws {Error} with the one command to run, when some are missing and this user may not install them
 */
export async function ensureDebianPackages(whose, packages) {
  if (process.platform !== "linux" || !existsSync("/usr/bin/apt-get")) {
    throw new Error(`${whose} need Debian's or Ubuntu's packages, and this system has no apt-get`);
  }
  const missing = await missingPackages(packages);
  if (missing.length === 0) return;
  const install = ["install", "-y", "--no-install-recommends", ...missing];
  if (process.getuid?.() !== 0) {
    throw new Error(
      `${whose} need packages that are missing, and installing them needs root. Run this once, ` +
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

/**
 * Those of the packages that dpkg does not know as installed.
 * @param {readonly string[]} packages
 */
async function missingPackages(packages) {
  const query = ["-W", "-f", "${Package} ${db:Status-Status}\\n", ...packages];
  const { stdout } = await readCommand("dpkg-query", query, { env: process.env });
  const installed = new Set(
    stdout.split("\n").filter((line) => line.endsWith(" installed")).map((line) => line.split(" ")[0]),
  );
  return packages.filter((name) => !installed.has(name));
}
