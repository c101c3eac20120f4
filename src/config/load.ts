import { deepspeedConflicts, readDeepspeed } from "./deepspeed.ts";
import { deepFreeze } from "./freeze.ts";
import type { Given } from "./given.ts";
import { shortJson } from "./parsed_json.ts";
import { parseOverride } from "./overrides.ts";
import { expandHome } from "./paths.ts";
import { RULES } from "./rules.ts";
import {
  type Config,
  type ConfigKey,
  ConfigSchema,
  defaultConfig,
  fieldMeta,
  isConfigKey,
} from "./schema.ts";
import { unknownKey } from "./unknown_key.ts";
import { type ConfigSource, readYaml } from "./yaml_file.ts";

const COMMAND_LINE = "command line";

export interface LoadOptions {
  /** `key=value` of the command line; they win over the file, the last one over the others. */
  overrides?: readonly string[];
  /** Devices that will train, for the batch rule. Default 1. */
  worldSize?: number;
  /** The folder that "~" in front of a path stands for; left out, it stands for itself. */
  homeDir?: string;
  /** The text of the file that deepspeed_config names, or of another that says as much. */
  deepspeed?: ConfigSource;
}

/** A file of settings has fewer; one of something else, named by mistake, may have thousands. */
const MAX_PROBLEMS = 100;

/** Every problem of a configuration at once. Its own class: the command line prints it without a stack. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const more = problems.length - MAX_PROBLEMS;
    super([...problems.slice(0, MAX_PROBLEMS), ...more > 0 ? [`and ${more} more`] : []].join("\n"));
    this.problems = problems;
  }
}

/**
 * The complete configuration: the schema's defaults, then the file, then the overrides; frozen.
 *
 * @throws ConfigError when the YAML is broken, keys are unknown, of a wrong type or out of range, or contradict each
 *   other; it names every problem with its place
 */
export function loadConfig(source: ConfigSource, options: LoadOptions = {}): Config {
  const problems: string[] = [];
  const ofFile = readYaml(source, problems);
  const given = new Map([...ofFile, ...readOverrides(options.overrides ?? [], problems)]);
  return checkedConfig({ given, ofFile, problems, fileName: source.fileName }, options);
}

/**
 * The file that deepspeed_config names, by the command line or else the file of settings; undefined where neither does.
 * What is wrong with them `loadConfig` says.
 */
export function deepspeedPath(
  source: ConfigSource,
  { overrides = [], homeDir }: Pick<LoadOptions, "overrides" | "homeDir">,
): string | undefined {
  const given = new Map([...readYaml(source, []), ...readOverrides(overrides, [])]);
  const path = given.get("deepspeed_config")?.value;
  return typeof path === "string" && path !== "" ? expandHome(path, homeDir) as string : undefined;
}

/**
 * The complete configuration of a program's own values, under the same keys; those that are undefined are left out.
 * @param where stands before each problem
 * @throws ConfigError when a value does not fit, as loadConfig
 */
export function configOf(
  values: Readonly<Record<string, unknown>>,
  where: string,
  options: Omit<LoadOptions, "overrides"> = {},
): Config {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  const given = new Map(entries.map(([key, value]) => [key, { value, where }]));
  return checkedConfig({ given, ofFile: given, problems: [], fileName: where }, options);
}

/** Values of a file and of the command line, and what is wrong so far. */
interface GivenValues {
  given: Map<string, Given>;
  ofFile: Map<string, Given>;
  problems: string[];
  fileName: string;
}

function checkedConfig({ given, ofFile, problems, fileName }: GivenValues, options: LoadOptions): Config {
  const worldSize = options.worldSize ?? 1;
  const deepspeed = options.deepspeed && readDeepspeed(options.deepspeed, problems);
  if (deepspeed) {
    problems.push(...deepspeedConflicts(deepspeed, given));
    deepspeed.sets.forEach((value, key) => given.set(key, value));
  }
  const valid: Record<string, unknown> = {};
  const invalid = new Set<ConfigKey>();
  for (const [key, { value, where }] of given) {
    if (!isConfigKey(key)) {
      problems.push(`${where}: ${unknownKey(key)}`);
    } else if (!accepts(key, value)) {
      invalid.add(key);
      problems.push(`${where}: ${wrongValue(key, value, valueWithout(key, where, ofFile))}`);
    } else {
      valid[key] = fieldMeta(key).isPath ? expandHome(value, options.homeDir) : value;
    }
  }
  const config = ConfigSchema.parse(valid);
  // A value of the command line may simply be left out again.
  const fallback = (keys: readonly ConfigKey[]) => {
    const [key] = keys.filter((key) => given.has(key));
    const where = key && given.get(key)!.where;
    return where?.startsWith(COMMAND_LINE)
      ? `, or leave it out for ${valueWithout(key!, where, ofFile)}`
      : "";
  };
  for (const { keys, check } of RULES) {
    if (keys.some((key) => invalid.has(key))) continue;
    const problem = check(config, worldSize);
    if (problem !== null) {
      problems.push(`${placeOf(keys, given, fileName)}: ${problem}${fallback(keys)}`);
    }
  }
  if (deepspeed && invalid.size === 0) problems.push(...deepspeed.check(config, worldSize));
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze(config);
}

function readOverrides(assignments: readonly string[], problems: string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const assignment of assignments) {
    try {
      const { key, value } = parseOverride(assignment);
      given.set(key, { value, where: `${COMMAND_LINE}, ${assignment}` });
    } catch (error) {
      problems.push(`${COMMAND_LINE}: ${(error as Error).message}`);
    }
  }
  return given;
}

/** The place of the first of these keys that the user wrote. */
function placeOf(keys: readonly ConfigKey[], given: Map<string, Given>, fileName: string): string {
  for (const key of keys) {
    const place = given.get(key);
    if (place !== undefined) return place.where;
  }
  return fileName;
}

const accepts = (key: ConfigKey, value: unknown) => ConfigSchema.shape[key].safeParse(value).success;

/** The value that holds once the one at `where` is removed, and whose it is: "30 of run.yaml", "the default 500". */
function valueWithout(key: ConfigKey, where: string, ofFile: ReadonlyMap<string, Given>): string {
  const inFile = ofFile.get(key);
  return inFile && inFile.where !== where && accepts(key, inFile.value)
    ? `${shortJson(inFile.value)} of ${inFile.where}`
    : `the default ${JSON.stringify(defaultConfig()[key])}`;
}

function wrongValue(key: ConfigKey, value: unknown, otherwise: string): string {
  const { requirement, refused } = fieldMeta(key);
  if (refused && Object.hasOwn(refused, String(value))) {
    return `${key}: ${shortJson(value)} is refused: ${refused[String(value)]}`;
  }
  const meant = typeof value === "string" ? fieldMeta(key).meant?.(value) : null;
  const isNumber = typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value));
  const hint = meant ? `try "${meant}"` : isNumber ? "remove the quotes" : `remove it for ${otherwise}`;
  return `${key} must be ${requirement}, got ${describeValue(value)}; ${hint}`;
}

function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return `the string ${shortJson(value)}`;
  if (Array.isArray(value)) return `the list ${shortJson(value)}`;
  if (typeof value === "object") return `the mapping ${shortJson(value)}`;
  return String(value);
}
