/** Trainings of a few steps of the quickstart's models, as jobs of a cluster. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { ROOT } from "../unit/source_files.ts";
import { type Job, readText, type SlurmCluster } from "./slurm_cluster.ts";

/** Words of sbatch for a job of one rank that takes few cores of a node. */
export const ONE_RANK = ["--ntasks-per-node=1", "--cpus-per-task=1"];

export interface SubmittedJob {
  id: string;
  /** Path of the file with what it prints. */
  log: string;
}

/** Folder of the run with the first beta of run.sh. */
export const RUN = "beta0.01_seed42_unified";
/** Of each run. */
export const STEPS = 8;

export interface ClusterRuns {
  /** A file of settings for a training into a folder of its own. @returns the paths of both */
  config(name: string, settings?: Record<string, unknown>): { config: string; runDir: string };
  /** What a job has printed so far. */
  said(log: string): string;
  /** Submits a script of slurm/. */
  submit(
    script: string,
    words: readonly string[],
    variables: Record<string, string>,
  ): Promise<SubmittedJob>;
  /** Waits for the end of a job. @throws Error with what it has printed, when it has not completed */
  completes(job: SubmittedJob, seconds: number): Promise<Job>;
  /** Waits until a run has logged a step. */
  reaches(runDir: string, step: number, job: SubmittedJob): Promise<void>;
}

export function clusterRuns(cluster: SlurmCluster): ClusterRuns {
  let jobs = 0;
  const base = parse(readFileSync(join(ROOT, "configs/quickstart.yaml"), "utf8")) as Record<string, unknown>;
  return {
    said: readText,
    config(name, settings = {}) {
      const path = join(cluster.folder, `${name}.yaml`);
      const own = {
        max_steps: STEPS,
        save_steps: 100,
        eval_jsonl: null,
        output_dir: join(cluster.folder, name),
      };
      writeFileSync(path, stringify({ ...base, ...own, ...settings }));
      return { config: path, runDir: join(own.output_dir, RUN) };
    },
    async submit(script, words, variables) {
      const log = join(cluster.folder, `job-${++jobs}.log`);
      const id = await cluster.submit([...words, `--output=${log}`, join("slurm", script)], variables);
      return { id, log };
    },
    async completes(job, seconds) {
      return await telling(job, async () => {
        const ended = await cluster.ended(job.id, seconds);
        if (ended.JobState === "COMPLETED") return ended;
        throw new Error(`It ended as ${ended.JobState}, ${ended.Reason}, exit code ${ended.ExitCode}`);
      });
    },
    async reaches(runDir, step, job) {
      await telling(job, () =>
        cluster.waitUntil(`step ${step} in ${runDir}`, 240, async () => {
          if (readText(join(runDir, "metrics.jsonl")).includes(`"step":${step},`)) return true;
          const { JobState: state } = await cluster.job(job.id);
          if (/PENDING|RUNNING|COMPLETING|CONFIGURING/.test(state)) return false;
          throw new Error(`It is ${state}`);
        }));
    },
  };
}

/** An error of `body` is told with what the job has printed. */
async function telling<R>({ id, log }: SubmittedJob, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    throw new Error(`Job ${id}: ${(error as Error).message}\nIt printed:\n${readText(log)}`, {
      cause: error,
    });
  }
}

/** The steps that a run's log says a start of it makes: "5 to 8 (resumed)". */
export const resumedSteps = (text: string): string[] =>
  [...text.matchAll(/^steps +(\d+) to \d+ \(resumed\)$/gm)].map(([, first]) => first);

/** The processes of a job's ranks. */
export function rankProcesses(id: string): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    const environment = readText(`/proc/${pid}/environ`).split("\0");
    const [program, ...words] = readText(`/proc/${pid}/cmdline`).split("\0");
    return environment.includes(`SLURM_JOB_ID=${id}`) && !program.endsWith("srun") &&
      words.some((word) => word.endsWith("scripts/start.mjs"));
  });
}

/** Whether a signal waits for a process that is stopped; Slurm itself may have let it go on. */
export function isPending(pid: number, signal: number): boolean {
  const [, mask = "0"] = /^ShdPnd:\s+([0-9a-f]+)$/m.exec(readText(`/proc/${pid}/status`)) ?? [];
  return (BigInt(`0x${mask}`) >> BigInt(signal - 1) & 1n) === 1n;
}
