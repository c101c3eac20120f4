/** The `slurm` command: the job that it writes trains with the config that it was given. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { slurmCommand } from "../../src/cli/slurm.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { configOf, NO_BASH, runJob } from "./slurm_job_run.ts";
import { ROOT } from "./source_files.ts";
import { writeStub } from "./stub_program.ts";

/** What the command prints. */
async function printed(...args: string[]): Promise<string> {
  const { write } = process.stdout;
  let text = "";
  // A test runner reports in bytes.
  process.stdout.write = function (this: unknown, ...chunks: unknown[]) {
    if (typeof chunks[0] !== "string") return Reflect.apply(write, process.stdout, chunks);
    text += chunks[0];
    return true;
  } as typeof write;
  try {
    assert.equal(await slurmCommand(args), 0);
  } finally {
    process.stdout.write = write;
  }
  return text;
}

const directivesOf = (script: string) =>
  Object.fromEntries(
    [...script.matchAll(/^#SBATCH --([\w-]+)(?:=(.*))?$/gm)].map(([, name, value = ""]) => [name, value]),
  );

/** What the printed job starts. */
async function wordsOf(script: string, variables: Record<string, string> = {}): Promise<string[]> {
  let words: string[] = [];
  await withScratchFolder(async (folder) => {
    const path = join(folder, "job.sh");
    writeFileSync(path, script);
    const job = await runJob(path, variables);
    assert.equal(job.code, 0, job.stderr);
    words = job.words;
  });
  return words;
}

const REFERENCE = ["--config", "configs/grpo_alignment.yaml", "--beta", "0.01,0.05,0.1,0.15", "--array_beta"];

describe("slurm", { skip: leftOut("slurm", NO_BASH) }, () => {
  it("asked for the reference run writes the job of slurm/run.sh", async () => {
    const script = await printed(...REFERENCE, "--set", "gradient_accumulation_steps=15");
    const own = readFileSync(join(ROOT, "slurm/run.sh"), "utf8");
    assert.deepEqual(directivesOf(script), directivesOf(own));
    for (const task of ["0", "3"]) {
      const variables = {
        SLURM_ARRAY_TASK_ID: task,
        SLURM_NTASKS: "4",
        SCORER_URL_FILE: "/shared/scorer.url",
      };
      assert.deepEqual(await wordsOf(script, variables), (await runJob("run.sh", variables)).words);
    }
  });

  it("hands on partition, account, time, nodes and ranks", async () => {
    const cluster = ["--partition", "gpu", "--account", "lab", "--time", "2-12"];
    const script = await printed("--print", ...cluster, "--num_processes", "8", "--nodes", "2");
    const { partition, account, time, nodes, "ntasks-per-node": ranks, array, output } = directivesOf(script);
    assert.deepEqual([partition, account, time, nodes, ranks], ["gpu", "lab", "2-12", "2", "4"]);
    assert.deepEqual([array, output], [undefined, "%x-%j.log"]);
  });

  it("writes a job that trains with the given settings, whatever characters they hold", async () => {
    const own = ["--seed", "7", "--beta", "0.1", "--set", "max_steps=12", "--set", "run_name=$HOME's"];
    const script = await printed(...own, "--scorer", "file:/shared/a.url,file:/shared/b.url");
    const config = await configOf(await wordsOf(script));
    assert.deepEqual([config.seed, config.beta, config.max_steps, config.run_name], [7, 0.1, 12, "$HOME's"]);
    assert.equal(config.scorer_url, "file:/shared/a.url,file:/shared/b.url");
    const elsewhere = await configOf(await wordsOf(script, { SCORER_URL: "http://gpu-1:8000", SEED: "8" }));
    assert.deepEqual([elsewhere.scorer_url, elsewhere.seed], ["http://gpu-1:8000", 8]);
  });

  it("without --scorer leaves the config's own, and trains with several betas in one job or in several", async () => {
    const together = await wordsOf(await printed("--beta", "0.1,0.2"));
    assert.ok(!together.some((word) => word.startsWith("scorer_url=")), together.join(" "));
    assert.deepEqual((await configOf(together)).beta, [0.1, 0.2]);
    const script = await printed("--beta", "0.1,0.2", "--array_beta");
    assert.equal(directivesOf(script).array, "0-1");
    assert.equal((await configOf(await wordsOf(script, { SLURM_ARRAY_TASK_ID: "1" }))).beta, 0.2);
  });

  it("refuses what would fail in the queue", async () => {
    const refusals: [string[], RegExp][] = [
      [["--set", "max_step=3"], /max_step/],
      [
        ["--num_processes", "3", "--nodes", "2"],
        /Cannot share 3 ranks out over 2 nodes.*--num_processes to 4/,
      ],
      [["--num_processes", "0"], /whole number, at least 1/],
      [["--time", "10"], /more than 10 minutes: a job is asked to save 5 minutes before its end/],
      [["--time", "0:09:59"], /more than 10 minutes/],
      [["--time", "soon"], /hours:minutes:seconds/],
      [["--partition", "a b"], /name without spaces/],
      [["--scorer", "gpu-1:8000"], /http:\/\/HOST:PORT or file:PATH/],
      [["--array_beta"], /--array_beta needs several betas, got 0.02 alone/],
    ];
    for (const [args, message] of refusals) await assert.rejects(slurmCommand(args), message, args.join(" "));
  });

  it("--submit gives the job to sbatch, and without sbatch says where to go", () =>
    withScratchFolder(async (folder) => {
      const { PATH } = process.env;
      try {
        process.env.PATH = folder;
        await assert.rejects(slurmCommand(["--submit"]), /need Slurm's sbatch.*login node/);
        writeStub(join(folder, "sbatch"), `/bin/cat > ${join(folder, "job.sh")}; exit 3`);
        assert.equal(await slurmCommand(["--submit", "--time", "1:00:00"]), 3);
      } finally {
        process.env.PATH = PATH;
      }
      assert.equal(directivesOf(readFileSync(join(folder, "job.sh"), "utf8")).time, "1:00:00");
    }));
});
