/** Settings as a program gives them: any of the YAML file's, under the same names. */
import { homedir } from "node:os";
import type { z } from "zod";
import { configOf } from "../config/load.ts";
import type { ConfigSchema } from "../config/schema.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import type { ConfigSource } from "../config/yaml_file.ts";

/** Any settings of docs/config.md; what is left out has its default. */
export type Settings = Partial<z.input<typeof ConfigSchema>>;

/** Settings that a call has arguments of its own for. */
export type Arguments = Partial<Record<keyof Settings, string | null | undefined>>;

/**
 * One run's settings.
 * @param caller the function that is called, for messages
 * @param own settings by the caller's arguments, by name; undefined where an argument is not given
 * @param deepspeed the text of the file that deepspeed_config names
 * @throws ConfigError when a setting does not fit, or an argument and a setting say the same thing twice
 * @throws RangeError when beta is a list of several
 */
export function settingsOf(
  caller: string,
  config: Settings,
  own: Arguments,
  deepspeed?: ConfigSource,
): RunConfig {
  const given = Object.entries(own).filter(([, value]) => value !== undefined);
  const twice = given.filter(([key]) => config[key as keyof Settings] !== undefined).map(([key]) => key);
  if (twice.length > 0) {
    throw new RangeError(
      `${caller}: ${
        twice.join(", ")
      } of config is also given by an argument of the call; leave one of them out`,
    );
  }
  const values = { ...config, ...Object.fromEntries(given) };
  const runs = sweepRuns(configOf(values, `${caller}, config`, { homeDir: homedir(), deepspeed }));
  if (runs.length === 1) return runs[0];
  throw new RangeError(
    `${caller} makes one run, and beta is a list of ${runs.length}; call it once for each value`,
  );
}

/** @throws RangeError when neither the argument nor the setting is there */
export function requireOne(caller: string, argument: string, key: keyof Settings, isGiven: boolean): void {
  if (!isGiven) throw new RangeError(`${caller} needs \`${argument}\`, or ${key} in config; got neither`);
}
