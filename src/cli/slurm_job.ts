/** The script of a Slurm job for a config: slurm/run.sh, with other values where it says what is run. */
import { shellWord } from "../config/command_line.ts";

export interface SlurmJob {
  /** Path of the config file, as the job finds it from the folder that it is submitted from. */
  config: string;
  /** Settings over those of the file, as key=value. */
  settings: readonly string[];
  betas: readonly number[];
  /** One job for each beta, where there are several; else one job trains with one after the other. */
  isArray: boolean;
  seed: number;
  /** For scorer_url; null: what the config says. */
  scorer: string | null;
  /** Folder of the program. */
  programFolder: string;
  numProcesses: number;
  nodes: number;
  partition?: string;
  account?: string;
  /** As Slurm takes it. */
  time?: string;
  /** The command line that asked for the job. */
  command: string;
}

/** How long before its end Slurm asks a job to save, in seconds: --signal of slurm/run.sh. */
export const SAVE_SECONDS = 300;

const DIRECTIVE = /^#SBATCH --([\w-]+)(?:=(.*))?$/;
/** What run.sh says of itself. */
const HEAD = /^#\n(?:#.*\n)+/m;
/** The paragraph that begins with this comment holds what is run. */
const VALUES = /^# What is run;.*\n(?:.+\n)+/m;

/**
 * Fills slurm/run.sh.
 * @param template its text
 * @throws RangeError when the ranks cannot be shared out evenly over the nodes
 */
export function slurmScript(template: string, job: SlurmJob): string {
  const { numProcesses, nodes, betas, isArray } = job;
  if (numProcesses % nodes !== 0) {
    throw new RangeError(
      `Cannot share ${numProcesses} ranks out over ${nodes} nodes: need as many on each; set --num_processes to ` +
        `${
          nodes * Math.max(1, Math.round(numProcesses / nodes))
        }, or --nodes to a divisor of ${numProcesses}`,
    );
  }
  const lines = template.replace(VALUES, () => valuesText(job)).replace(HEAD, () => headText(job)).split(
    "\n",
  );
  const first = lines.findIndex((line) => DIRECTIVE.test(line));
  const last = lines.findLastIndex((line) => DIRECTIVE.test(line));
  const directives = new Map(
    lines.slice(first, last + 1).map((line) => {
      const [, name, value] = DIRECTIVE.exec(line)!;
      return [name, value] as const;
    }),
  );
  const wanted: Record<string, string | null | undefined> = {
    partition: job.partition,
    account: job.account,
    array: isArray ? `0-${betas.length - 1}` : null,
    nodes: String(nodes),
    "ntasks-per-node": String(numProcesses / nodes),
    time: job.time,
    output: isArray ? undefined : "%x-%j.log",
  };
  for (const [name, value] of Object.entries(wanted)) {
    if (value === null) directives.delete(name);
    else if (value !== undefined) directives.set(name, value);
  }
  const written = [...directives].map(([name, value]) =>
    `#SBATCH --${name}${value === undefined ? "" : `=${value}`}`
  );
  return [...lines.slice(0, first), ...written, ...lines.slice(last + 1)].join("\n");
}

const headText = ({ command }: SlurmJob) =>
  [
    "#",
    ...command.split("\n").map((line) => `# ${line}`),
    "#",
    "# Variables that are set where it is submitted have the last word, as slurm/run.sh says: SCORER_URL_FILE or",
    "# SCORER_URL, CONFIG, SEED, SLURM_MPI_TYPE.",
    "",
  ].join("\n");

/** The paragraph of values. A variable that is set where the job is submitted has the last word, as in slurm/run.sh. */
function valuesText({ config, settings, betas, isArray, seed, scorer, programFolder }: SlurmJob): string {
  const unlessSet = (name: string, value: string) =>
    `[[ -n "\${${name}:-}" ]] || ${name}=${shellWord(value)}`;
  const words = settings.flatMap((setting) => ["--set", shellWord(setting)]);
  return [
    "# What is run",
    unlessSet("GRPO_WEBGPU_ROOT", programFolder),
    `BETA_VALUES=(${betas.join(isArray ? " " : ",")})`,
    unlessSet("SEED", String(seed)),
    unlessSet("CONFIG", config),
    `SETTINGS=(${words.join(" ")})`,
    ...(scorer === null
      ? []
      : [`[[ -n "\${SCORER_URL:-}\${SCORER_URL_FILE:-}" ]] || SCORER_URL=${shellWord(scorer)}`]),
    "",
  ].join("\n");
}
