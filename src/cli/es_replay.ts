/** The `es-replay` command: the model of any iteration of a run by evolution strategies, from its replay log. */
import { Command } from "commander";
import { replayRun } from "../assembly/es_replay.ts";
import { openGpu } from "../gpu/device.ts";
import { once, parseArguments, pathOf, wholeFrom } from "./arguments.ts";
import { withoutDriverNoise } from "./terminal/driver_noise.ts";
import { standardOutput } from "./terminal/output.ts";
import { weightsHash } from "./weights_hash.ts";

interface Options {
  iteration?: number;
  out?: string;
}

/** `es-replay RUN_FOLDER`: writes a model's folder, and prints it with a hash; returns the exit code. */
export async function esReplayCommand(args: string[]): Promise<number> {
  const command = new Command("es-replay")
    .description(
      "Make the weights of an iteration again, bit for bit, from the replay log of a run of algorithm es.",
    )
    .argument("<run_folder>", "folder with es_replay.jsonl")
    .option(
      "--iteration <number>",
      "which; 0 is the start, the last unless given",
      wholeFrom("--iteration", 0),
    )
    .option(
      "--out <folder>",
      "where to write the model (default: replayed-N in the run's folder)",
      once("--out"),
    )
    .allowExcessArguments(false);
  const parsed = parseArguments(command, args);
  const { iteration, out } = parsed.opts<Options>();
  await withoutDriverNoise(openGpu);
  const { dir, file, ...made } = await replayRun(pathOf(parsed.args[0]), {
    iteration,
    out: out && pathOf(out),
  });
  const { sha256 } = await weightsHash(dir, file);
  standardOutput().write(
    `iteration  ${made.iteration}\nmodel      ${dir}\nsha256     ${sha256} of ${file}\n`,
  );
  return 0;
}
