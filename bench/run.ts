/** The `bench` command: which benchmark is wanted, and where its numbers go. */
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { type Gpu, openGpu } from "../src/gpu/device.ts";
import { writeFileAtomic } from "../src/io/files/atomic_files.ts";
import { baselineFile, comparisonTable, readBaseline, toBaseline } from "./baseline.ts";
import { benchCurves, curvesText } from "./curves.ts";
import { benchDecoding } from "./decode_bench.ts";
import { decodeTable } from "./decode_table.ts";
import { runJob } from "./job.ts";
import { openJob } from "./job_model.ts";
import { jobTable } from "./job_table.ts";
import { benchOps, reportJson } from "./op_bench.ts";
import { showProgress } from "./progress.ts";
import { namedShape, SHAPES } from "./shapes.ts";
import { benchTable } from "./table.ts";
import { benchTraining, PEER_CHOICES, type PeerChoice } from "./train_bench.ts";
import { trainTable } from "./train_table.ts";

interface BenchOptions {
  op?: string;
  peer: PeerChoice;
  job?: boolean;
  train?: boolean;
  decode?: boolean;
  curves?: boolean;
  tiny?: boolean;
  shape: string;
  /** A file; true for this device's own baseline. */
  compare?: string | true;
  save?: boolean;
  json?: string;
  /** Unless given: as many as the benchmark has time for. */
  repeat?: number;
}

/** What a benchmark prints, and what it writes with --json. */
interface Outcome {
  text: string;
  json: string;
}

async function opsOutcome({ op, repeat = 5, peer, compare, save }: BenchOptions): Promise<Outcome> {
  const given = typeof compare === "string" ? readBaseline(compare) : null;
  const report = await benchOps(op, repeat, peer);
  const file = baselineFile(report);
  const texts = [benchTable(report)];
  if (compare) texts.push(comparisonTable(report, given ?? readBaseline(file)));
  if (save) {
    const before = existsSync(file) ? readBaseline(file) : null;
    mkdirSync(new URL(".", file), { recursive: true });
    await writeFileAtomic(fileURLToPath(file), jsonText(toBaseline(report, before)));
    texts.push(`Baseline written to ${fileURLToPath(file)}`);
  }
  return { text: texts.join("\n\n"), json: reportJson(report) };
}

const deviceLine = ({ info }: Gpu) =>
  `${info.name} (${info.driver}), ${info.runtime} ${info.runtimeVersion}, ${new Date().toISOString()}`;

const jsonText = (report: unknown) => `${JSON.stringify(report, null, 2)}\n`;

async function trainOutcome({ repeat = 2, peer, tiny = false }: BenchOptions): Promise<Outcome> {
  const report = await benchTraining(repeat, peer, tiny);
  return { text: trainTable(deviceLine(await openGpu()), report), json: jsonText(report) };
}

async function decodeOutcome({ repeat = 3, peer, tiny = false }: BenchOptions): Promise<Outcome> {
  const report = await benchDecoding(repeat, peer === "all" || peer === "tfjs", tiny);
  return { text: decodeTable(deviceLine(await openGpu()), report), json: jsonText(report) };
}

async function curvesOutcome({ repeat = 5 }: BenchOptions): Promise<Outcome> {
  const curves = await benchCurves(repeat);
  return { text: curvesText(deviceLine(await openGpu()), curves), json: jsonText(curves) };
}

async function jobOutcome({ shape, repeat = 5 }: BenchOptions): Promise<Outcome> {
  const named = namedShape(shape);
  const gpu = await openGpu();
  showProgress("planning memory");
  const job = await openJob(named, gpu);
  const report = await runJob(job, gpu, repeat, showProgress);
  job.dispose();
  showProgress("");
  const title = `${deviceLine(gpu)}\none training step at shape ${shape}`;
  return { text: jobTable(title, report), json: jsonText(report) };
}

function outcomeOf({ job, train, decode, curves }: BenchOptions) {
  if (job) return jobOutcome;
  if (train) return trainOutcome;
  if (curves) return curvesOutcome;
  return decode ? decodeOutcome : opsOutcome;
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
    .option("--op <name>", "only this op: a file name in test/cases without .ts")
    .addOption(new Option("--peer <name>", "whom to compare with").choices(PEER_CHOICES).default("all"))
    .option("--train", "a training step of a 15M model: ours, plain tfjs and jax-js")
    .option("--decode", "decoding of a 15M model: recorded, unrecorded and plain tfjs; JavaScript of a token")
    .option("--curves", "a training step against tokens, rows and parameters, with a line through each")
    .option("--tiny", "a tiny model for --train and --decode, to see whether all of it runs")
    .option("--job", "the phases of a training step, and where the GPU's time goes by kernel")
    .option("--shape <name>", `the model of --job: ${Object.keys(SHAPES).join(", ")}`, "quickstart")
    .option("--compare [file]", "hold the ops against a baseline: this device's own, or that of a file")
    .option("--save", "make these numbers of the ops this device's baseline, in bench/baselines")
    .option("--json <file>", "write all numbers to this file")
    .option("--repeat <count>", "samples per measurement", repeatCount)
    .allowExcessArguments(false)
    .parse(args, { from: "user" })
    .opts<BenchOptions>();
  const { text, json } = await outcomeOf(options)(options);
  process.stdout.write(`${text}\n`);
  if (options.json !== undefined) {
    await writeFileAtomic(options.json, json);
    process.stdout.write(`Written to ${options.json}\n`);
  }
  return 0;
}
