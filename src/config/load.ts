import { closest, distance } from "fastest-levenshtein";
import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { deepFreeze } from "./freeze.ts";
import { parseOverride } from "./overrides.ts";
import { RULES } from "./rules.ts";
import {
  type Config,
  CONFIG_KEYS,
  type ConfigKey,
  ConfigSchema,
  defaultConfig,
  fieldMeta,
  isConfigKey,
} from "./schema.ts";

/** The text of a config file; reading it is the caller's. */
interface ConfigSource {
  text: string;
  /** Stands before each problem, as `fileName:line:column`. */
  fileName: string;
}

export interface LoadOptions {
  /** `key=value` of the command line; they win over the file, the last one over the others. */
  overrides?: readonly string[];
  /** Devices that will train, for the batch rule. Default 1. */
  worldSize?: number;
}

/** Every problem of a configuration at once. Its own class: the command line prints it without a stack. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** A value as the user gave it, and where. */
interface Given {
  value: unknown;
  where: string;
}

/**
 * The complete configuration: the schema's defaults, then the file, then the overrides; frozen.
 *
 * @throws ConfigError when the YAML is broken, keys are unknown, of a wrong type or out of range, or contradict each
 *   other; it names every problem with its place
 */
export function loadConfig(source: ConfigSource, options: LoadOptions = {}): Config {
  const problems: string[] = [];
  const given = new Map([
    ...readYaml(source, problems),
    ...readOverrides(options.overrides ?? [], problems),
  ]);
  return checkedConfig(given, problems, source.fileName, options.worldSize);
}

/**
 * The complete configuration of a program's own values, under the same keys; those that are undefined are left out.
 * @param where stands before each problem
 * @throws ConfigError when a value does not fit, as loadConfig
 */
export function configOf(values: Readonly<Record<string, unknown>>, where: string): Config {
  const given = Object.entries(values).filter(([, value]) => value !== undefined)
    .map(([key, value]) => [key, { value, where }] as const);
  return checkedConfig(new Map(given), [], where);
}

/** Adds to the problems, and throws them where there are any. */
function checkedConfig(
  given: Map<string, Given>,
  problems: string[],
  fileName: string,
  worldSize = 1,
): Config {
  const valid: Record<string, unknown> = {};
  const invalid = new Set<ConfigKey>();
  for (const [key, { value, where }] of given) {
    if (!isConfigKey(key)) {
      problems.push(`${where}: ${unknownKey(key)}`);
    } else if (!ConfigSchema.shape[key].safeParse(value).success) {
      invalid.add(key);
      problems.push(`${where}: ${wrongValue(key, value)}`);
    } else {
      valid[key] = value;
    }
  }
  const config = ConfigSchema.parse(valid);
  for (const { keys, check } of RULES) {
    if (keys.some((key) => invalid.has(key))) continue;
    const problem = check(config, worldSize);
    if (problem !== null) problems.push(`${placeOf(keys, given, fileName)}: ${problem}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze(config);
}

function readYaml({ text, fileName }: ConfigSource, problems: string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  for (const fault of [...document.errors, ...document.warnings]) {
    problems.push(`${at(fault.pos[0])}: this is not valid YAML: ${fault.message}`);
  }
  if (document.errors.length > 0) return given;
  if (!isMap(document.contents)) {
    const found = document.contents === null ? "nothing" : "a list or a single value";
    problems.push(`${fileName}: need lines of "key: value", got ${found}; start from a file in configs/`);
    return given;
  }
  const values = document.contents.toJS(document) as Record<string, unknown>;
  for (const { key } of document.contents.items) {
    // A list or a mapping as a key is no key of ours: it goes on as it is written, to be refused by name.
    const name = String(isScalar(key) ? key.value : key);
    given.set(name, { value: values[name], where: at(key.range?.[0] ?? 0) });
  }
  return given;
}

function readOverrides(assignments: readonly string[], problems: string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const assignment of assignments) {
    try {
      const { key, value } = parseOverride(assignment);
      given.set(key, { value, where: `command line, ${assignment}` });
    } catch (error) {
      problems.push(`command line: ${(error as Error).message}`);
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

function unknownKey(key: string): string {
  const nearest = closest(key, CONFIG_KEYS);
  const near = distance(key, nearest) <= Math.max(2, Math.floor(key.length / 3));
  return `unknown key "${key}"; ` +
    (near ? `did you mean "${nearest}"?` : "docs/config.md lists every key; remove it");
}

function wrongValue(key: ConfigKey, value: unknown): string {
  const { requirement, refused } = fieldMeta(key);
  if (typeof value === "string" && refused && Object.hasOwn(refused, value)) {
    return `${key}: "${value}" is refused: ${refused[value]}`;
  }
  const hint = typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))
    ? "remove the quotes"
    : `remove it for the default ${JSON.stringify(defaultConfig()[key])}`;
  return `${key} must be ${requirement}, got ${describeValue(value)}; ${hint}`;
}

function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return `the string ${JSON.stringify(value)}`;
  if (Array.isArray(value)) return `the list ${JSON.stringify(value)}`;
  if (typeof value === "object") return `the mapping ${JSON.stringify(value)}`;
  return String(value);
}
