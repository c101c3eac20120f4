/** The `scorer` command: the scorer service with a reward and a cost model. */
import { dirname } from "node:path";
import { Command } from "commander";
import { assertModelNames } from "../assembly/hub.ts";
import { makeFolders } from "../io/files/atomic_files.ts";
import { writeScorerUrl } from "../scorer/url.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput } from "./terminal/output.ts";

interface ScorerOptions {
  reward_model: string;
  cost_model: string;
  reward_label?: string;
  cost_label?: string;
  port: string;
  hostname: string;
  url_file?: string;
  max_length: string;
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new RangeError(`--${name} must be a whole number of at least ${least}, got "${text}"`);
}

/** A label of a classifier, as reward_label takes it: its number, or its name. */
const labelOf = (text: string | undefined) =>
  text === undefined ? null : /^\d+$/.test(text) ? Number(text) : text;

/** `scorer`: serves until SIGINT or SIGTERM; returns the exit code. */
export async function scorerCommand(args: string[]): Promise<number> {
  const {
    REWARD_MODEL = "models/quickstart/reward",
    COST_MODEL = "models/quickstart/cost",
    MAX_LENGTH = "512",
  } = process.env;
  const command = new Command("scorer")
    .description("Serve a reward and a cost model over HTTP.")
    .option(
      "--reward_model <model>",
      "reward model, a folder or a hub id (environment: REWARD_MODEL)",
      REWARD_MODEL,
    )
    .option("--cost_model <model>", "cost model, a folder or a hub id (environment: COST_MODEL)", COST_MODEL)
    .option("--reward_label <label>", "label of a classifier whose score is the reward, by index or name")
    .option("--cost_label <label>", "label of a classifier whose score is the cost, by index or name")
    .option("--port <number>", "port to listen on; 0 takes a free one", "8000")
    .option("--hostname <address>", "address to listen on", "0.0.0.0")
    .option("--url_file <path>", "write the service's URL to this file once it answers")
    .option(
      "--max_length <tokens>",
      "tokens of a conversation that are read (environment: MAX_LENGTH)",
      MAX_LENGTH,
    )
    .allowExcessArguments(false);
  const options = parseArguments(command, args).opts<ScorerOptions>();
  const port = wholeNumber("port", options.port, 0);
  const maxLength = wholeNumber("max_length", options.max_length, 2);
  const reward = pathOf(options.reward_model);
  const cost = pathOf(options.cost_model);
  await assertModelNames([reward, cost]);
  // What a mistyped option need not wait for is loaded from here on.
  const [{ openGpu }, { serveScoreModels }, { withoutDriverNoise }] = await Promise.all([
    import("../gpu/device.ts"),
    import("../assembly/scorer.ts"),
    import("./terminal/driver_noise.ts"),
  ]);
  const { info } = await withoutDriverNoise(openGpu);
  const output = standardOutput();
  output.write(`Loading ${options.reward_model} and ${options.cost_model} ...\n`);
  const models = { reward, cost, maxLength };
  const labels = { rewardLabel: labelOf(options.reward_label), costLabel: labelOf(options.cost_label) };
  const service = await serveScoreModels(
    { ...models, ...labels },
    { device: info.name, port, hostname: options.hostname },
    assemblyEvents(output),
  );
  output.write(`Service will be available at ${service.url}\n`);
  try {
    if (options.url_file) {
      const path = pathOf(options.url_file);
      await makeFolders(dirname(path));
      await writeScorerUrl(path, service.url);
    }
    await new Promise<void>((resolve) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, resolve);
    });
  } finally {
    await service.close();
  }
  return 0;
}
