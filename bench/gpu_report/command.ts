/** The `gpu-report` command: what a real card does with this program, in nine minutes at the most. */
import { Command } from "commander";
import { makeFolders, writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { showProgress } from "../progress.ts";
import { conductReport } from "./conductor.ts";
import { partNamed, PARTS } from "./parts.ts";
import { reportText } from "./report_table.ts";

interface GpuReportOptions {
  small?: boolean;
  part?: string[];
  out: string;
  python: string;
}

function gpuReportOptions(): Command {
  return new Command("gpu-report")
    .description(
      "Measures this program on a graphics card, in at most nine minutes: what the device can do, whether the " +
        "kernels are right there, how fast each is against that and against what was predicted, PyTorch beside it.",
    )
    .option("--small", "tiny shapes: to see on any device whether all of it runs")
    .option("--part <names...>", `only these parts: ${PARTS.map(({ name }) => name).join(", ")}`)
    .option("--out <folder>", "where report.json and report.txt go", "outputs/gpu_report")
    .option("--python <program>", "the Python that has PyTorch, transformers and peft", "python3")
    .allowExcessArguments(false);
}

/** `gpu-report`: prints one table, writes all lines as they come; returns 1 where nothing was found out, else 0. */
export async function gpuReportCommand(args: string[]): Promise<number> {
  const options = gpuReportOptions().parse(args, { from: "user" }).opts<GpuReportOptions>();
  const parts = options.part ? options.part.map(partNamed) : PARTS;
  await makeFolders(options.out);
  const reports = await conductReport(parts, {
    isSmall: options.small ?? false,
    jsonFile: `${options.out}/report.json`,
    python: options.python,
    onProgress: showProgress,
  });
  showProgress("");
  const text = `${reportText(reports)}\n`;
  await writeFileAtomic(`${options.out}/report.txt`, text);
  process.stdout.write(`${text}\nWritten to ${options.out}/report.txt and report.json\n`);
  return reports.some(({ lines }) => lines.some(({ kind }) => kind !== "left out")) ? 0 : 1;
}
