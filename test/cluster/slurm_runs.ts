/** Trainings of a few steps of the quickstart's models, as jobs of a cluster. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parse, stringify } from "yaml";
import { ROOT } from "../unit/source_files.ts";
import type { Job, SlurmCluster } from "./slurm_cluster.ts";

/** Words of sbatch for a job of one rank that takes few cores of a node. */
export const ONE_RANK = ["--ntasks-per-node=1", "--cpus-per-task=1"];

/** Of each run. */
export const STEPS = 8;

export interface ClusterRuns {
  /** A file of settings for a training into a folder of its own. @returns their paths, the run's with beta 0.01 */
  config(name: string, settings?: Record<string, unknown>): { config: string; runDir: string };
  /** What a job has printed so far. */
  said(log: string): string;
  /** Submits a script of slurm/. @returns the job's id and the path of what it prints */
  submit(
    script: string,
    words: readonly string[],
    variables: Record<string, string>,
  ): Promise<{ id: string; log: string }>;
  /** Waits for the end of a job. @throws Error with what it has printed, when it has not completed */
  completes(job: { id: string; log: string }, seconds: number): Promise<Job>;
  /** Waits until a run has logged a step. */
  reaches(runDir: string, step: number, job: { id: string; log: string }): Promise<void>;
}

export function clusterRuns(cluster: SlurmCluster): ClusterRuns {
  let jobs = 0;
  const base = parse(readFileSync(join(ROOT, "configs/quickstart.yaml"), "utf8")) as Record<string, unknown>;
  const said = (path: string) => existsSync(path) ? readFileSync(path, "utf8") : "";
  return {
    said,
    config(name, settings = {}) {
      const path = join(cluster.folder, `${name}.yaml`);
      const own = {
        max_steps: STEPS,
        save_steps: 100,
        eval_jsonl: null,
        output_dir: join(cluster.folder, name),
      };
      writeFileSync(path, stringify({ ...base, ...own, ...settings }));
      return { config: path, runDir: join(own.output_dir, "beta0.01_seed42_unified") };
    },
    async submit(script, words, variables) {
      const log = join(cluster.folder, `job-${++jobs}.log`);
      const id = await cluster.submit([...words, `--output=${log}`, join("slurm", script)], variables);
      return { id, log };
    },
    async completes({ id, log }, seconds) {
      try {
        const job = await cluster.ended(id, seconds);
        if (job.JobState === "COMPLETED") return job;
        throw new Error(`Job ${id} ended as ${job.JobState}, ${job.Reason}, exit code ${job.ExitCode}`);
      } catch (error) {
        throw new Error(`${(error as Error).message}\nIt printed:\n${said(log)}`, { cause: error });
      }
    },
    async reaches(runDir, step, { id, log }) {
      await cluster.waitUntil(`${runDir} reaches step ${step}`, 60, async () => {
        if (said(join(runDir, "metrics.jsonl")).includes(`"step":${step},`)) return true;
        const { JobState: state } = await cluster.job(id);
        if (/PENDING|RUNNING|COMPLETING|CONFIGURING/.test(state)) return false;
        throw new Error(`Job ${id} is ${state}. It printed:\n${said(log)}`);
      });
    },
  };
}

/** The steps that a run's log says a start of it makes: "5 to 8 (resumed)". */
export const resumedSteps = (text: string): string[] =>
  [...text.matchAll(/^steps +(\d+) to \d+ \(resumed\)$/gm)].map(([, first]) => first);

/** The processes of a job's ranks. */
export function rankProcesses(id: string): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    if (pid === process.pid) return false;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return environment.includes(`SLURM_JOB_ID=${id}`) && words.some((word) =>
        word.endsWith("scripts/start.mjs")
      ) &&
        environment.some((entry) => entry.startsWith("SLURM_PROCID=")) && !/srun$/.test(words[0]);
    } catch {
      return false; // it has ended
    }
  });
}

/** Whether a signal waits for a process that is stopped. */
export function isPending(pid: number, signal: number): boolean {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const [, mask = "0"] = /^ShdPnd:\s+([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${mask}`) >> BigInt(signal - 1) & 1n) === 1n;
}
