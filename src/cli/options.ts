/** Command-line options that every config-driven command shares. */
import { homedir } from "node:os";
import { Command } from "commander";
import { readDeepspeedFile } from "../assembly/deepspeed_file.ts";
import { readDeepspeed } from "../config/deepspeed.ts";
import { formatConfig } from "../config/describe.ts";
import { deepspeedPath, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { ConfigSource } from "../config/yaml_file.ts";
import { ownFile } from "../io/files/own_files.ts";
import { readText } from "../io/files/whole_file.ts";
import { once, pathOf } from "./arguments.ts";
import { writeData } from "./terminal/output.ts";

const DEFAULT_CONFIG = "configs/quickstart.yaml";
/** A file of settings is some kilobytes; a file of weights, named by mistake, is not read. */
const MAX_CONFIG_BYTES = 1 << 20;

export interface ConfigOptions {
  config: string;
  beta: string[];
  seed?: string;
  set: string[];
  dryRun?: boolean;
}

/** A command with --config, --beta, --seed, --set and --dry-run. */
export function configCommand(name: string, description: string): Command {
  const collect = (value: string, all: string[]) => [...all, value];
  return new Command(name)
    .description(description)
    .option("--config <file>", "YAML file of settings; see docs/config.md", once("--config"), DEFAULT_CONFIG)
    .option(
      "--beta <values>",
      "KL coefficient; several, with commas or each with --beta, run one after the other",
      collect,
      [],
    )
    .option("--seed <number>", "seed of prompt order and sampling", once("--seed"))
    .option("--set <key=value>", "override any setting; may be repeated", collect, [])
    .option("--dry-run", "check the paths, print the plan and the resolved settings, and stop")
    .allowExcessArguments(false);
}

/** Said where another model than the first run's gets that run's settings, because no file of settings was named. */
export function defaultsNotices(command: Command, config: Config): string[] {
  const isDefault = command.getOptionValueSource("config") === "default";
  if (!isDefault || /(^|\/)models\/quickstart\//.test(config.model_name)) return [];
  const { learning_rate, max_prompt_length, max_completion_length, cost_threshold_d } = config;
  return [
    `no --config, so all but the given settings are of ${DEFAULT_CONFIG}, which is made for its tiny model: ` +
    `learning_rate ${learning_rate}, cost_threshold_d ${cost_threshold_d}, max_prompt_length ${max_prompt_length}, ` +
    `max_completion_length ${max_completion_length}; for a model of your own begin with ` +
    "--config configs/grpo_alignment.yaml",
  ];
}

/** What is known beside the options of every command. */
interface Circumstances {
  /** Ranks that train together. */
  size: number;
  /** What DeepSpeed is to do, in the place of the file that deepspeed_config names. */
  deepspeed: ConfigSource | undefined;
}

/**
 * Reads the YAML file, and the one of deepspeed_config, and applies the options.
 * @throws ConfigError when a setting is wrong; it lists every problem, its line and remedy
 * @throws RangeError when a setting is given by --set and by an option of its own
 * @throws Error when the file cannot be read
 */
export async function readConfig(options: ConfigOptions, circumstances?: Circumstances): Promise<Config> {
  return (await readRun(options, circumstances)).config;
}

/** As readConfig, with what is to be said of the file of deepspeed_config. */
export async function readRun(
  options: ConfigOptions,
  { size, deepspeed }: Circumstances = { size: 1, deepspeed: undefined },
): Promise<{ config: Config; notices: string[] }> {
  const fileName = pathOf(options.config);
  const text = await readSettings(ownFile(fileName));
  const own = {
    beta: options.beta.length > 0 ? options.beta.join(",") : undefined,
    seed: options.seed,
  };
  const overrides = [...options.set];
  for (const [key, value] of Object.entries(own)) {
    if (value === undefined) continue;
    const twice = options.set.find((assignment) => assignment.split("=")[0].trim() === key);
    if (twice !== undefined) {
      throw new RangeError(
        `${key} is given twice, by --${key} ${value} and by --set ${twice}; give one of them`,
      );
    }
    overrides.push(`${key}=${value}`);
  }
  const homeDir = homedir();
  const path = deepspeedPath({ text, fileName }, { overrides, homeDir });
  if (path !== undefined) deepspeed ??= await readDeepspeedFile(path);
  const config = loadConfig({ text, fileName }, { overrides, homeDir, worldSize: size, deepspeed });
  return { config, notices: deepspeed ? readDeepspeed(deepspeed, []).notices : [] };
}

/**
 * The text of a YAML file.
 * @throws Error when it cannot be read, is no text, or is too long for one
 */
export async function readSettings(path: string): Promise<string> {
  const text = await readText(path, "read settings from", MAX_CONFIG_BYTES);
  if (!text.includes("\0")) return text;
  throw new RangeError(
    `Cannot read settings from '${path}': required a YAML file, got one that is no text; ` +
      "give a file as those in configs/",
  );
}

/** --dry-run: prints the resolved settings. @returns whether that was all that was asked for */
export function isDryRun({ dryRun }: ConfigOptions, config: Config): boolean {
  if (dryRun) writeData(formatConfig(config));
  return dryRun ?? false;
}
