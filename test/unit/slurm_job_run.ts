/** Runs scripts of slurm/ without Slurm: programs that stand in for its own write down how they were called. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { readCommand } from "../../scripts/run_command.mjs";
import { configCommand, type ConfigOptions, readConfig } from "../../src/cli/options.ts";
import type { Config } from "../../src/config/schema.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { callsOf, NO_SHELL, writeStub } from "./stub_program.ts";

const hasBash = existsSync("/bin/bash") || existsSync("/usr/bin/bash");
/** Why the scripts cannot run here; false where they can. */
export const NO_BASH = NO_SHELL || (!hasBash && "the jobs are scripts of bash");

export interface Job {
  code: number;
  stderr: string;
  /** What follows the program's path in the job's last command; empty where it got no further. */
  words: string[];
  /** How each of the programs that stand in for others was called. */
  calls: Record<"srun" | "scontrol" | "node", string[]>;
}

/**
 * Runs a job's script with these variables, where programs write down what they are called for.
 * @param script of slurm/, or a path
 * @param stubs what the programs do
 */
export async function runJob(
  script: string,
  variables: Record<string, string>,
  stubs: { srun?: string; mpirun?: string } = {},
): Promise<Job> {
  let job: Job | undefined;
  await withScratchFolder(async (folder) => {
    for (const name of ["srun", "scontrol", "node", "mpirun"] as const) {
      writeStub(join(folder, name), name in stubs ? stubs[name as keyof typeof stubs] : "");
    }
    const { PATH } = process.env;
    const { code, stderr } = await readCommand("bash", [resolve(ROOT, "slurm", script)], {
      env: { PATH: `${folder}:${PATH}`, SLURM_SUBMIT_DIR: ROOT, SLURM_JOB_ID: "71", ...variables },
    });
    const callsTo = (name: string) => callsOf(join(folder, name));
    const calls = { srun: callsTo("srun"), scontrol: callsTo("scontrol"), node: callsTo("node") };
    const [, command = ""] = (calls.srun[0] ?? "").split("scripts/start.mjs ");
    job = { code, stderr, words: command.split(" ").filter((word) => word !== ""), calls };
  });
  return job!;
}

/** The settings that the words ask for. */
export async function configOf([task, ...args]: string[]): Promise<Config> {
  const command = configCommand(task, "").exitOverride();
  return await readConfig(command.parse(args, { from: "user" }).opts<ConfigOptions>());
}
