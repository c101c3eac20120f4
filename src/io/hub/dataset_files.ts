// Which files of a data set's repository are a split: those that its README names, else those that are called so.
// Pure. Source: https://huggingface.co/docs/hub/datasets-data-files-configuration

import { parse } from "yaml";
import { z } from "zod";
import { COMMIT, parseHubName } from "./name.ts";

/** A split of a data set as the user names it: hf:org/name[@revision]/[config/]split. */
export interface DatasetName {
  readonly id: string;
  readonly revision: string | undefined;
  /** undefined: the default one. */
  readonly config: string | undefined;
  readonly split: string;
}

const PREFIX = "hf:";
const FORM = `hf:org/name/split or hf:org/name@revision/config/split`;
/** Kinds of files that hold rows, the first that a split has being taken. */
const KINDS = [/\.parquet$/, /\.(jsonl|ndjson)(\.gz)?$/, /\.json(\.gz)?$/];
/** Splits under the names that files give them; files of a repository without any are one "train". */
const SPLITS = [
  "train",
  "training",
  "validation",
  "valid",
  "dev",
  "val",
  "test",
  "testing",
  "eval",
  "evaluation",
];

export const isDatasetName = (name: string) => name.startsWith(PREFIX);

/** @throws RangeError when it is none; it says how one looks */
export function parseDatasetName(name: string): DatasetName {
  const [org = "", repository = "", ...rest] = name.slice(PREFIX.length).split("/");
  const hubName = parseHubName(`${org}/${repository}`);
  const isWord = (word: string) => /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(word);
  if (hubName === undefined || rest.length < 1 || rest.length > 2 || !rest.every(isWord)) {
    throw new RangeError(`"${name}" names no data set: required ${FORM}`);
  }
  return { ...hubName, config: rest.length === 2 ? rest[0] : undefined, split: rest[rest.length - 1] };
}

export const isCommit = (revision: string) => COMMIT.test(revision);

const Paths = z.union([z.string(), z.array(z.string())]).transform((paths) => [paths].flat());
const DataFiles = z.union([
  Paths.transform((path) => [{ split: "train", path }]),
  z.array(z.object({ split: z.string(), path: Paths })),
]);
const Card = z.object({
  configs: z.array(z.object({
    config_name: z.string(),
    default: z.boolean().optional(),
    data_files: DataFiles.optional(),
  })),
});

/** The configurations of a README's front matter; undefined where it declares none. */
function configsOf(readme: string): z.infer<typeof Card>["configs"] | undefined {
  const [, frontMatter] = /^---\r?\n([^]*?)\r?\n---/.exec(readme) ?? [];
  if (frontMatter === undefined) return undefined;
  try {
    const card = Card.safeParse(parse(frontMatter));
    return card.success ? card.data.configs : undefined;
  } catch {
    return undefined; // YAML that says nothing: the files' own names do
  }
}

/** A pattern of paths: ** any folders, * and ? within one. */
function globPattern(glob: string): RegExp {
  const parts = glob.replace(/^\.\//, "").split(/(\*\*\/|\*\*|\*|\?)/);
  const source = parts.map((part) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "**") return ".*";
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${source.join("")}$`);
}

/** Whether a path has a word in it that stands by itself, as "train" in data/train-00000-of-00001.parquet. */
const hasWord = (path: string, word: string) =>
  path.split(/[/._\s-]+/).includes(word) || path.split("/").includes(word);

/**
 * The files of a split, in the order of their names.
 * @param readme of the repository, or undefined
 * @throws Error when there are none, or not all of a split's shards; it says what there is
 */
export function splitFiles(
  names: readonly string[],
  { id, config, split }: DatasetName,
  readme: string | undefined,
): string[] {
  const fail = (problem: string) => new Error(`Cannot use the data set "${id}": ${problem}`);
  const list = (words: readonly string[]) => words.map((word) => `"${word}"`).join(", ") || "none";
  const rows = names.filter((name) => KINDS.some((kind) => kind.test(name))).sort();
  const configs = configsOf(readme ?? "")?.filter(({ data_files }) => data_files !== undefined) ?? [];
  const chosen =
    configs.find((one) =>
      config === undefined ? one.config_name === "default" || one.default : one.config_name === config
    ) ?? (config === undefined && configs.length === 1 ? configs[0] : undefined);
  let found: string[];
  if (chosen !== undefined) {
    const patterns = chosen.data_files!.filter((files) => files.split === split).flatMap(({ path }) => path);
    if (patterns.length === 0) {
      const splits = chosen.data_files!.map((files) => files.split);
      throw fail(`it has no split "${split}"; take one of ${list(splits)}, as in ${FORM}`);
    }
    found = rows.filter((name) => patterns.some((pattern) => globPattern(pattern).test(name)));
  } else if (configs.length > 0) {
    const wanted = config === undefined ? "no default configuration" : `no configuration "${config}"`;
    throw fail(`it has ${wanted}; take one of ${list(configs.map((one) => one.config_name))}, as in ${FORM}`);
  } else {
    const within = config === undefined ? rows : rows.filter((name) => hasWord(name, config));
    found = within.filter((name) => hasWord(name, split));
    const isOneSplit = !within.some((name) => SPLITS.some((word) => hasWord(name, word)));
    if (found.length === 0 && split === "train" && isOneSplit) found = within;
  }
  const kind = KINDS.find((one) => found.some((name) => one.test(name)));
  if (kind === undefined) {
    throw fail(`it has no Parquet or JSON file of the split "${split}", but ${list(rows.slice(0, 20))}`);
  }
  const files = found.filter((name) => kind.test(name));
  for (const name of files) {
    const [, total] = /-\d+-of-0*(\d+)\./.exec(name) ?? [];
    const family = name.replace(/-\d+-of-.*$/, "");
    const there = files.filter((other) => other.replace(/-\d+-of-.*$/, "") === family).length;
    if (total !== undefined && there !== Number(total)) {
      throw fail(`of the ${total} files ${family}-... only ${there} are there; fetch it whole`);
    }
  }
  return files;
}
