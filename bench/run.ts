/** The `bench` command: which benchmark is wanted, and where its numbers go. */
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { kernelChoice } from "../src/assembly/kernel_tuning.ts";
import { openGpu } from "../src/gpu/device.ts";
import { writeFileAtomic } from "../src/io/files/atomic_files.ts";
import type { WeightFormat } from "../src/ops/weight/weight.ts";
import { allReduceTable, benchAllReduce } from "./all_reduce.ts";
import { baselineFile, comparisonTable, readBaseline, toBaseline } from "./baseline.ts";
import { benchCurves, curvesText } from "./curves.ts";
import { benchDecoding } from "./decode_bench.ts";
import { decodeTable } from "./decode_table.ts";
import { deviceLine, measuredOn } from "./device_line.ts";
import { explainLinear, layerSizes } from "./explain.ts";
import { runJob } from "./job.ts";
import { layersOfJob, openJob } from "./job_model.ts";
import { jobTable } from "./job_table.ts";
import { measureSections, pageFacts, runShell } from "./measurements.ts";
import { measurementsPage } from "./measurements_page.ts";
import { SECTIONS } from "./measurement_sections.ts";
import { benchOps } from "./op_bench.ts";
import { benchTable, withSpeeds } from "./op_table.ts";
import { DEVICES } from "./predict/devices.ts";
import { INTERCONNECTS } from "./predict/interconnects.ts";
import { runPrediction, runRanksPrediction } from "./predict/run.ts";
import { PEER_CHOICES, type PeerChoice } from "./peers/choice.ts";
import { benchPopulation } from "./population_bench.ts";
import { populationTable } from "./population_table.ts";
import type { StepOptions } from "./predict/plans.ts";
import { showProgress } from "./progress.ts";
import { benchQuickstart } from "./quickstart_bench.ts";
import { quickstartTable } from "./quickstart_table.ts";
import { namedShape, SHAPES } from "./shapes.ts";
import { benchSinks, sinksTable } from "./sinks_bench.ts";
import { benchTraining } from "./train_bench.ts";
import { takeTuning } from "./tuning.ts";
import { trainTable } from "./train_table.ts";

interface BenchOptions {
  op?: string;
  peer: PeerChoice;
  /** The Python that may have PyTorch. */
  python: string;
  tiny?: boolean;
  shape: string;
  /** A file; true for this device's own baseline. */
  compare?: string | true;
  save?: boolean;
  json?: string;
  /** Unless given: as many as the benchmark has time for. */
  repeat?: number;
  /** A file; true for docs/measurements.md. */
  measurements?: string | true;
  /** Rows, outputs and inputs of a linear layer. */
  explain?: string[];
  format: WeightFormat;
  few?: boolean;
  /** A device's name. */
  predict?: string;
  lora?: StepOptions["lora"];
  tune?: boolean;
  precision?: StepOptions["precision"];
  /** The most ranks of a prediction. */
  ranks?: number;
  interconnect: string;
}

/** What a benchmark prints, and what it writes with --json. */
interface Outcome {
  text: string;
  report: object;
}

const jsonText = (report: object) => `${JSON.stringify(report, null, 2)}\n`;
const titleHere = async () => deviceLine(measuredOn(await openGpu()));

const kernelsHere = async () =>
  `kernels for matrix products: ${await kernelChoice((await openGpu()).info, process.env)}`;

async function runOps({ op, repeat = 5, peer, compare, save, tune }: BenchOptions): Promise<Outcome> {
  if (peer === "torch") {
    throw new RangeError(
      "torch is a peer of --train, --decode and --quickstart: no op has it; leave out --peer",
    );
  }
  const given = typeof compare === "string" ? readBaseline(compare) : null;
  const report = await benchOps(op, { repeats: repeat, peer, tune });
  const file = baselineFile(report);
  const texts = [benchTable(report), await kernelsHere()];
  if (compare) texts.push(comparisonTable(report, given ?? readBaseline(file)));
  if (save) {
    const before = existsSync(file) ? readBaseline(file) : null;
    mkdirSync(new URL(".", file), { recursive: true });
    await writeFileAtomic(fileURLToPath(file), jsonText(toBaseline(report, before)));
    texts.push(`Baseline written to ${fileURLToPath(file)}`);
  }
  return { text: texts.join("\n\n"), report: withSpeeds(report) };
}

async function runTrain({ repeat = 2, peer, python, tiny = false }: BenchOptions): Promise<Outcome> {
  await takeTuning(await openGpu());
  const report = await benchTraining({ repeats: repeat, peer, python, isTiny: tiny });
  return { text: trainTable(await titleHere(), report), report };
}

async function runDecode({ repeat = 3, peer, python, tiny = false }: BenchOptions): Promise<Outcome> {
  await takeTuning(await openGpu());
  const report = await benchDecoding({ repeats: repeat, peer, python, isTiny: tiny });
  return { text: decodeTable(await titleHere(), report), report };
}

async function runQuickstart({ repeat = 10, peer, python, tiny = false }: BenchOptions): Promise<Outcome> {
  const report = await benchQuickstart({ repeats: repeat, peer, python, isTiny: tiny });
  return { text: quickstartTable(await titleHere(), report), report };
}

async function runPopulation({ repeat = 5, tiny = false }: BenchOptions): Promise<Outcome> {
  await takeTuning(await openGpu());
  const report = await benchPopulation({ repeats: repeat, isTiny: tiny });
  return { text: populationTable(await titleHere(), report), report };
}

async function runSinks({ repeat = 5, tiny = false }: BenchOptions): Promise<Outcome> {
  const title = await titleHere();
  const report = await benchSinks({ repeats: repeat, isTiny: tiny });
  return { text: sinksTable(title, report), report };
}

async function runCurves({ repeat = 5 }: BenchOptions): Promise<Outcome> {
  await takeTuning(await openGpu());
  const report = await benchCurves(repeat);
  return { text: curvesText(await titleHere(), report), report };
}

async function runPhases({ shape, repeat = 5, tune }: BenchOptions): Promise<Outcome> {
  const named = namedShape(shape);
  const gpu = await openGpu();
  showProgress("planning memory");
  const job = await openJob(named, gpu);
  await takeTuning(gpu, tune ? layersOfJob(job) : null);
  const report = await runJob(job, gpu, { repeats: repeat, onPhase: showProgress });
  job.dispose();
  showProgress("");
  const title = `${await titleHere()}\n${await kernelsHere()}\none training step at shape ${shape}`;
  return { text: jobTable(title, report), report };
}

/** Writes the page; the short form is printed, unless a file is named. */
async function runMeasurements({ measurements, tiny = false }: BenchOptions): Promise<Outcome> {
  const facts = await pageFacts(runShell, tiny);
  const results = measureSections(SECTIONS, facts, { run: runShell, tell: showProgress });
  showProgress("");
  const text = measurementsPage(facts, results);
  const report = { facts, results };
  if (measurements === true && tiny) return { text, report };
  const file = measurements === true
    ? fileURLToPath(new URL("../docs/measurements.md", import.meta.url))
    : measurements!;
  await writeFileAtomic(file, text);
  return { text: `Page written to ${file}`, report };
}

async function runExplain({ explain = [], format, few }: BenchOptions): Promise<Outcome> {
  const sizes = layerSizes(explain);
  return await explainLinear(await openGpu(), sizes, { format, rowCount: few ? "few" : "many" });
}

async function runAllReduce({ repeat = 15 }: BenchOptions): Promise<Outcome> {
  const sizes = await benchAllReduce(repeat);
  return { text: allReduceTable(await titleHere(), sizes), report: { sizes } };
}

function runPredict(
  { predict = "", shape, lora, precision, ranks, interconnect }: BenchOptions,
): Promise<Outcome> {
  if (ranks !== undefined) {
    return runRanksPrediction({ device: predict, shape, precision, ranks, interconnect });
  }
  return runPrediction({ device: predict, shape, lora, precision });
}

interface Mode {
  flags: string;
  about: string;
  run(options: BenchOptions): Promise<Outcome>;
}

/** What is run where its option is given: the first of these, else the ops. */
const MODES: Readonly<Record<string, Mode>> = {
  train: {
    flags: "--train",
    about: "a training step of a 15M model: ours, plain tfjs, jax-js and torch",
    run: runTrain,
  },
  decode: {
    flags: "--decode",
    about:
      "decoding of a 15M model: recorded, unrecorded, plain tfjs and transformers; JavaScript of a token",
    run: runDecode,
  },
  quickstart: {
    flags: "--quickstart",
    about: "a step of the quickstart with a scorer service: ours, and TRL's GRPOTrainer on the CPU",
    run: runQuickstart,
  },
  population: {
    flags: "--population",
    about:
      "members of evolution strategies: of low rank in one batch, of full rank in turn, and plain decoding",
    run: runPopulation,
  },
  sinks: {
    flags: "--sinks",
    about:
      "whole runs of the quickstart with W&B, TensorBoard, trackio and every completion kept, and without, in turn",
    run: runSinks,
  },
  curves: {
    flags: "--curves",
    about: "a training step against tokens, rows and parameters, with a line through each",
    run: runCurves,
  },
  job: {
    flags: "--job",
    about: "the phases of a training step, and where the GPU's time goes by kernel",
    run: runPhases,
  },
  explain: {
    flags: "--explain <sizes...>",
    about: "which kernels a linear layer of so many rows, outputs and inputs takes on this device, and why",
    run: runExplain,
  },
  predict: {
    flags: "--predict <device>",
    about:
      `nothing: says what a step of --shape would take on another device, and on what it would lose time: ${
        Object.keys(DEVICES).join(", ")
      }`,
    run: runPredict,
  },
  allReduce: {
    flags: "--all-reduce",
    about: "all-reduce of typed arrays between two ranks of MPI: ours, the same in C, and MPI_Allreduce",
    run: runAllReduce,
  },
  measurements: {
    flags: "--measurements [file]",
    about: "all sections of docs/measurements.md, which it writes (some 25 minutes on two cores)",
    run: runMeasurements,
  },
};

function repeatCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new InvalidArgumentError("need a whole number, at least 1.");
}

/** The command with its options. */
export function benchOptions(): Command {
  const command = new Command("bench")
    .description(
      "Times this program on this device: every op (the default), or the phases of a training step.",
    )
    .option("--op <name>", "only this op: a file name in test/cases without .ts")
    .addOption(new Option("--peer <name>", "whom to compare with").choices(PEER_CHOICES).default("all"))
    .option("--python <program>", "the Python that has torch, transformers and trl", "python3");
  for (const { flags, about } of Object.values(MODES)) command.option(flags, about);
  return command
    .addOption(
      new Option("--format <format>", "of the weight, for --explain").choices(["f32", "bf16", "f16"]).default(
        "f32",
      ),
    )
    .option("--few", "one token a row, as in decoding, for --explain")
    .option(
      "--tiny",
      "a tiny model for --train and --decode, few tokens for --quickstart and --sinks, to see whether all of it runs",
    )
    .option(
      "--shape <name>",
      `the model of --job and --predict: ${Object.keys(SHAPES).join(", ")}`,
      "quickstart",
    )
    .addOption(
      new Option("--lora <layers>", "which have adapters, for --predict; as the shape has it unless given")
        .choices(["qv", "all-linear", "none"]),
    )
    .addOption(
      new Option("--precision <name>", "of products, for --predict; as the program would choose unless given")
        .choices(["float32", "float16"]),
    )
    .option("--ranks <count>", "for --predict: a step of 1, 2, 4 and so on up to so many ranks", repeatCount)
    .option(
      "--interconnect <name>",
      `what lies between them: ${
        Object.keys(INTERCONNECTS).join(", ")
      }, or GB/s,microseconds between any two`,
      "nvlink-host",
    )
    .option(
      "--tune",
      "first measure the kernels for matrix products that are not known of this device, as a run would, for the " +
        "ops and --job",
    )
    .option("--compare [file]", "hold the ops against a baseline: this device's own, or that of a file")
    .option("--save", "make these numbers of the ops this device's baseline, in bench/baselines")
    .option("--json <file>", "write all numbers to this file")
    .option("--repeat <count>", "samples per measurement", repeatCount)
    .allowExcessArguments(false);
}

/** `bench`: prints the table, writes every number with --json; returns the exit code. */
export async function benchCommand(args: string[]): Promise<number> {
  const options = benchOptions().parse(args, { from: "user" }).opts<BenchOptions & Record<string, unknown>>();
  const mode = Object.keys(MODES).find((name) => options[name]);
  const { text, report } = await (mode ? MODES[mode].run : runOps)(options);
  process.stdout.write(`${text}\n`);
  if (options.json !== undefined) {
    await writeFileAtomic(options.json, jsonText(report));
    process.stdout.write(`Written to ${options.json}\n`);
  }
  return 0;
}
