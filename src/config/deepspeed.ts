/**
 * What a DeepSpeed configuration asks of a run. ZeRO's settings are taken; what transformers' integration compares
 * with the trainer's arguments is compared with ours, "auto" standing for theirs; what would train another way is
 * refused; what tunes DeepSpeed's own machinery is named as without meaning.
 */
import type { Given } from "./given.ts";
import { parsedObject, shortJson } from "./parsed_json.ts";
import type { Config, ConfigKey } from "./schema.ts";
import { nearestName } from "./unknown_key.ts";
import type { ConfigSource } from "./yaml_file.ts";
import { DEEPSPEED_KEYS, type DeepspeedKey, deepspeedKey } from "./deepspeed_keys.ts";

export interface DeepspeedAsks {
  /** Settings that it gives, each of which the user may leave out or say alike. */
  sets: Map<ConfigKey, Given>;
  /** What is said of keys that do nothing here. */
  notices: string[];
  /** What does not fit complete settings. */
  check(config: Config, worldSize: number): string[];
}

/** What stands at a path of the file; `path` has the keys with dots between them. */
interface Leaf {
  path: string;
  value: unknown;
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Mappings are entered as far as the keys known in them reach. */
function leavesOf(values: Record<string, unknown>, above = ""): Leaf[] {
  return Object.entries(values).flatMap(([key, value]): Leaf[] => {
    const path = above + key;
    const isSection = DEEPSPEED_KEYS.some((known) => known.startsWith(`${path}.`));
    return isMapping(value) && isSection ? leavesOf(value, `${path}.`) : [{ path, value }];
  });
}

/**
 * Reads a file's text. What is wrong is added to `problems`.
 * @returns what it asks for; of a text that is no JSON object, nothing
 */
export function readDeepspeed({ text, fileName }: ConfigSource, problems: string[]): DeepspeedAsks {
  const sets: DeepspeedAsks["sets"] = new Map();
  const without = new Map<string, string[]>();
  const comparisons: { leaf: Leaf; compare: NonNullable<DeepspeedKey["compare"]> }[] = [];
  for (const leaf of leavesOf(parsed(text, fileName, problems))) {
    const { path, value } = leaf;
    const known = deepspeedKey(path);
    const problem = known ? known.refuses?.(value) : unknownPath(path);
    if (problem) problems.push(`${fileName}: ${problem}`);
    if (!known || problem || value === "auto") continue;
    if (known.compare) comparisons.push({ leaf, compare: known.compare });
    const given = known.sets?.(value);
    if (given) sets.set(given.key, { value: given.value, where: `${fileName}, ${path}` });
    if (known.reason) without.set(known.reason, [...without.get(known.reason) ?? [], path]);
  }
  return {
    sets,
    notices: [...without].map(([reason, paths]) =>
      `${fileName}: ${paths.join(", ")} without meaning: ${reason}`
    ),
    check: (config, worldSize) =>
      comparisons.flatMap(({ leaf: { path, value }, compare }) => {
        const ours = compare(config, worldSize);
        if (JSON.stringify(ours.value) === JSON.stringify(value)) return [];
        return [
          `${fileName}: ${path} must agree with ${ours.name} = ${shortJson(ours.value)}, got ` +
          `${shortJson(value)}; write "auto", or change one of the two`,
        ];
      }),
  };
}

function parsed(text: string, fileName: string, problems: string[]): Record<string, unknown> {
  try {
    return parsedObject(text, fileName, "write DeepSpeed's keys, as its documentation has them");
  } catch (error) {
    problems.push((error as Error).message);
    return {};
  }
}

function unknownPath(path: string): string {
  const nearest = nearestName(path, DEEPSPEED_KEYS);
  return `unknown key ${shortJson(path)}; ${
    nearest ? `did you mean "${nearest}"?` : "remove it, or write it as DeepSpeed does"
  }`;
}

/** What the user said in another way than the file, in words. */
export function deepspeedConflicts(asks: DeepspeedAsks, given: ReadonlyMap<string, Given>): string[] {
  return [...asks.sets].flatMap(([key, { value, where }]) => {
    const own = given.get(key);
    if (!own || own.value === value || own.value === "auto") return [];
    return [
      `${own.where}: ${key} = ${shortJson(own.value)} must agree with ${where}, which asks for ` +
      `${shortJson(value)}; change one of the two, or leave ${key} out`,
    ];
  });
}
