/** The `slurm` command: the script of a Slurm job that trains with a config. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { commandLine, shellWord } from "../config/command_line.ts";
import { scorerAddresses } from "../config/scorer_addresses.ts";
import type { Config } from "../config/schema.ts";
import { messageOf } from "../io/files/errors.ts";
import { PROGRAM_FOLDER } from "../io/files/own_files.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { configCommand, type ConfigOptions, readConfig } from "./options.ts";
import { SAVE_SECONDS, slurmScript } from "./slurm_job.ts";
import { writeData } from "./terminal/output.ts";

interface SlurmOptions extends ConfigOptions {
  print?: boolean;
  submit?: boolean;
  partition?: string;
  account?: string;
  time?: string;
  num_processes: number;
  nodes: number;
  scorer?: string;
  array_beta?: boolean;
}

/** The reference run: four GPUs of one node. */
const NUM_PROCESSES = 4;

/** @throws InvalidArgumentError when it is no whole number from 1 */
function parseCount(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Need a whole number, at least 1.");
}

/** @throws InvalidArgumentError when Slurm would read another name, or none */
function parseName(text: string): string {
  if (/^[\w.,+@-]+$/.test(text)) return text;
  throw new InvalidArgumentError("Need a name without spaces.");
}

/**
 * A time limit of Slurm's: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes,
 * days-hours:minutes:seconds, or UNLIMITED.
 * @throws InvalidArgumentError when it is none, or leaves no time to train before the job is asked to save
 */
function parseTime(text: string): string {
  if (/^(unlimited|infinite)$/i.test(text)) return text;
  const [, days, rest] = /^(?:(\d+)-)?(\d+(?::\d+){0,2})$/.exec(text) ?? [];
  if (rest === undefined) {
    throw new InvalidArgumentError("Need minutes, hours:minutes:seconds or days-hours:minutes:seconds.");
  }
  const parts = rest.split(":").map(Number);
  const units = days !== undefined ? [3600, 60, 1] : parts.length === 3 ? [3600, 60, 1] : [60, 1];
  const seconds = parts.reduce((sum, part, i) => sum + part * units[i], Number(days ?? 0) * 86_400);
  if (seconds > 2 * SAVE_SECONDS) return text;
  throw new InvalidArgumentError(
    `Need more than ${2 * SAVE_SECONDS / 60} minutes: a job is asked to save ${
      SAVE_SECONDS / 60
    } minutes before its end.`,
  );
}

/** @throws InvalidArgumentError when it is no list of addresses and files with addresses */
function parseScorer(text: string): string {
  const isAddress = (part: string) =>
    /^file:./.test(part) || (/^https?:\/\//.test(part) && URL.canParse(part));
  if (scorerAddresses(text).every(isAddress)) return text;
  throw new InvalidArgumentError("Need http://HOST:PORT or file:PATH, of several with commas between.");
}

function slurmCommandLine() {
  return configCommand("slurm", "Write the script of a Slurm job that trains with a config, or submit it.")
    .option("--print", "write the script to standard output; so does a call without --submit")
    .option("--submit", "give the script to sbatch")
    .option("--partition <name>", "partition of the cluster", parseName)
    .option("--account <name>", "account that is charged", parseName)
    .option("--time <limit>", "time limit of each job, as sbatch takes it (default: 24:00:00)", parseTime)
    .option("--num_processes <number>", "ranks, one GPU each", parseCount, NUM_PROCESSES)
    .option("--nodes <number>", "nodes that the ranks are shared out over", parseCount, 1)
    .option(
      "--scorer <address>",
      "the scorer's, or file:PATH of slurm/scorer.sh; several with commas",
      parseScorer,
    )
    .option("--array_beta", "a job for each beta, side by side, instead of one job for all");
}

/** `slurm`: prints or submits a job; returns the exit code. */
export async function slurmCommand(args: string[]): Promise<number> {
  const options = parseArguments(slurmCommandLine(), args).opts<SlurmOptions>();
  const config = await readConfig(options, { size: options.num_processes, deepspeed: undefined });
  const template = await readFile(join(PROGRAM_FOLDER, "slurm", "run.sh"), "utf8");
  const script = slurmScript(template, {
    config: pathOf(options.config),
    settings: options.set,
    ...sweepOf(config, options),
    scorer: options.scorer ?? null,
    programFolder: relative(".", PROGRAM_FOLDER) === "" ? "." : resolve(PROGRAM_FOLDER),
    numProcesses: options.num_processes,
    nodes: options.nodes,
    partition: options.partition,
    account: options.account,
    time: options.time,
    command: commandLine(process.env, "slurm", ...args.map(shellWord)),
  });
  if (options.submit) return await submit(script);
  writeData(script);
  return 0;
}

/** What the job's --beta and --seed say. */
function sweepOf({ beta, seed }: Config, { array_beta = false }: SlurmOptions) {
  const betas = [beta].flat();
  if (array_beta && betas.length === 1) {
    throw new RangeError(`--array_beta needs several betas, got ${betas[0]} alone; add --beta 0.01,0.05,0.1`);
  }
  return { betas, seed, isArray: array_beta };
}

/** Gives the script to sbatch, which says what became of it. @returns its exit code */
function submit(script: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sbatch = spawn("sbatch", [], { stdio: ["pipe", "inherit", "inherit"] });
    sbatch.on("error", (error) => {
      const toFile = commandLine(process.env, "slurm", "--print");
      reject(
        new Error(
          `Cannot submit: need Slurm's sbatch, got ${
            messageOf(error)
          }; run this on a login node of the cluster, or ` +
            `take the script there: ${toFile}`,
        ),
      );
    });
    sbatch.on("close", (code) => resolve(code ?? 1));
    sbatch.stdin.on("error", () => {}); // it has ended, and its exit code says how
    sbatch.stdin.end(script);
  });
}
