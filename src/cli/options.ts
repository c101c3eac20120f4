/** Command-line options that every config-driven command shares. */
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { formatConfig } from "../config/describe.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { explainFsError } from "../io/files/errors.ts";
import { ownFile } from "../io/files/own_files.ts";

const DEFAULT_CONFIG = "configs/quickstart.yaml";

export interface ConfigOptions {
  config: string;
  beta?: string;
  seed?: string;
  set: string[];
  dryRun?: boolean;
}

/** A command with --config, --beta, --seed, --set and --dry-run. */
export function configCommand(name: string, description: string): Command {
  const collect = (value: string, all: string[]) => [...all, value];
  return new Command(name)
    .description(description)
    .option("--config <file>", "YAML file of settings; see docs/config.md", DEFAULT_CONFIG)
    .option("--beta <values>", "KL coefficient; several with commas run one after the other")
    .option("--seed <number>", "seed of prompt order and sampling")
    .option("--set <key=value>", "override any setting; may be repeated", collect, [])
    .option("--dry-run", "print the resolved settings and stop")
    .allowExcessArguments(false);
}

/**
 * Reads the YAML file and applies the options.
 * @throws ConfigError when a setting is wrong; it lists every problem, its line and remedy
 * @throws Error when the file cannot be read
 */
export async function readConfig(options: ConfigOptions): Promise<Config> {
  const text = await readFile(ownFile(options.config), "utf8").catch((error) => {
    throw explainFsError(error, "read settings from", options.config);
  });
  const overrides = [
    ...options.set,
    ...(options.beta === undefined ? [] : [`beta=${options.beta}`]),
    ...(options.seed === undefined ? [] : [`seed=${options.seed}`]),
  ];
  return loadConfig({ text, fileName: options.config }, { overrides });
}

/** --dry-run: prints the resolved settings. @returns whether that was all that was asked for */
export function isDryRun({ dryRun }: ConfigOptions, config: Config): boolean {
  if (dryRun) process.stdout.write(formatConfig(config));
  return dryRun ?? false;
}
