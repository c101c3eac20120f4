/** The `bench` command: which benchmark is wanted, and where its numbers go. */
import { Command, InvalidArgumentError } from "commander";
import { openGpu } from "../src/gpu/device.ts";
import { writeFileAtomic } from "../src/io/atomic_files.ts";
import { runJob } from "./job.ts";
import { openJob } from "./job_model.ts";
import { jobTable } from "./job_table.ts";
import { benchOps, reportJson } from "./op_bench.ts";
import { showProgress } from "./progress.ts";
import { namedShape, SHAPES } from "./shapes.ts";
import { benchTable } from "./table.ts";

interface BenchOptions {
  op?: string;
  job?: true;
  shape: string;
  json?: string;
  repeat: number;
}

/** What a benchmark prints, and what it writes with --json. */
interface Outcome {
  text: string;
  json: string;
}

async function opsOutcome({ op, repeat }: BenchOptions): Promise<Outcome> {
  const report = await benchOps(op, repeat);
  return { text: benchTable(report), json: reportJson(report) };
}

async function jobOutcome({ shape, repeat }: BenchOptions): Promise<Outcome> {
  const named = namedShape(shape);
  const gpu = await openGpu();
  const { info } = gpu;
  showProgress("planning memory");
  const job = await openJob(named, gpu);
  const report = await runJob(job, gpu, repeat, showProgress);
  job.dispose();
  showProgress("");
  const title =
    `one step at shape ${shape}: ${info.name} (${info.driver}), ${info.runtime} ${info.runtimeVersion}`;
  return { text: jobTable(title, report), json: `${JSON.stringify(report, null, 2)}\n` };
}

function repeatCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new InvalidArgumentError("need a whole number, at least 1.");
}

/** `bench`: prints the table, writes every number with --json; returns the exit code. */
export async function benchCommand(args: string[]): Promise<number> {
  const options = new Command("bench")
    .description(
      "Times this program on this device: every op (the default), or the phases of a training step.",
    )
    .option("--op <name>", "only this op: a file name in bench/cases without .ts")
    .option("--job", "the phases of a training step, and where the GPU's time goes by kernel")
    .option("--shape <name>", `the model of --job: ${Object.keys(SHAPES).join(", ")}`, "quickstart")
    .option("--json <file>", "write all numbers to this file")
    .option("--repeat <count>", "samples per measurement", repeatCount, 5)
    .allowExcessArguments(false)
    .parse(args, { from: "user" })
    .opts<BenchOptions>();
  const { text, json } = options.job ? await jobOutcome(options) : await opsOutcome(options);
  process.stdout.write(`${text}\n`);
  if (options.json !== undefined) {
    await writeFileAtomic(options.json, json);
    process.stdout.write(`Written to ${options.json}\n`);
  }
  return 0;
}
